package podspec

import (
	"reflect"

	"gocache.dev/operator/api/v1alpha1"
)

// ForRole is the template of the pods of one role: each field that the role's
// template sets, and the others of the template of all pods. Either may be nil.
func ForRole(all, role *v1alpha1.PodTemplate) *v1alpha1.PodTemplate {
	if all == nil || role == nil {
		if role == nil {
			return all
		}
		return role
	}
	both := all.DeepCopy()
	from, to := reflect.ValueOf(role.DeepCopy()).Elem(), reflect.ValueOf(both).Elem()
	for i := range from.NumField() {
		if field := from.Field(i); !field.IsZero() {
			to.Field(i).Set(field)
		}
	}
	return both
}
