package reflinkcsi

import (
	"context"

	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrar registers the driver with the kubelet, as node-driver-registrar does
// for drivers that cannot.
type registrar struct {
	registration.UnimplementedRegistrationServer
	driver *Driver
}

// GetInfo returns where the driver listens.
func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.driver.options.Name,
		Endpoint:          r.driver.options.Socket,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus receives whether the kubelet accepted it.
func (r *registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	r.driver.log.Info("kubelet registration", "registered", s.PluginRegistered, "error", s.Error)
	return &registration.RegistrationStatusResponse{}, nil
}
