package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of all kinds of this package.
const GroupName = "cache.gocache.dev"

// GroupVersion is the group and version of all kinds of this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// Kind names, as they stand in an object's kind and in references.
const (
	GoCacheKind       = "GoCache"
	CacheSnapshotKind = "CacheSnapshot"
	ModProxyKind      = "ModProxy"
	CacheRequestKind  = "CacheRequest"
)

// AddToScheme registers the kinds of this package with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&GoCache{}, &GoCacheList{},
		&CacheSnapshot{}, &CacheSnapshotList{},
		&ModProxy{}, &ModProxyList{},
		&CacheRequest{}, &CacheRequestList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
