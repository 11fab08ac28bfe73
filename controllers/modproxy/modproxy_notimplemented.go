package modproxy

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/unimplemented"
)

// NotImplemented are the fields that this release does not act on.
var NotImplemented []unimplemented.Field[*v1alpha1.ModProxy]
