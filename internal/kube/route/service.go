package route

import (
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Service is what users choose of a router's Service.
type Service struct {
	// Type of the Service; empty is ClusterIP.
	Type corev1.ServiceType
	// Port that clients connect to; 0 is the backend's default.
	Port int32
	// Labels and Annotations in addition to the operator's own.
	Labels, Annotations map[string]string
	// LoadBalancerClass and LoadBalancerSourceRanges of type LoadBalancer.
	LoadBalancerClass        *string
	LoadBalancerSourceRanges []string
}

// PortOr is the port of the Service, by default as given.
func (s Service) PortOr(byDefault int32) int32 {
	if s.Port != 0 {
		return s.Port
	}
	return byDefault
}

// Authority is a host with the port of the Service, unless that is the default of
// the scheme.
func (s Service) Authority(host string, byDefault int32) string {
	if port := s.PortOr(byDefault); port != byDefault {
		return host + ":" + strconv.Itoa(int(port))
	}
	return host
}

// Object is the Service, which leads to a port of the pods by its name. The labels
// in meta are kept.
func (s Service) Object(meta metav1.ObjectMeta, selector map[string]string, port int32, target string) *corev1.Service {
	labels := maps.Clone(s.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, meta.Labels)
	meta.Labels, meta.Annotations = labels, maps.Clone(s.Annotations)
	service := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type: s.Type, Selector: selector,
			Ports:             []corev1.ServicePort{{Name: "goproxy", Port: s.PortOr(port), TargetPort: intstr.FromString(target), Protocol: corev1.ProtocolTCP}},
			LoadBalancerClass: s.LoadBalancerClass, LoadBalancerSourceRanges: slices.Clone(s.LoadBalancerSourceRanges),
		},
	}
	if service.Spec.Type == "" {
		service.Spec.Type = corev1.ServiceTypeClusterIP
	}
	return service
}
