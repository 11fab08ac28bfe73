package apply

import apierrors "k8s.io/apimachinery/pkg/api/errors"

// Refused reports whether the API server refuses an object until a person changes it or the
// cluster: a quota, an admission policy or a webhook. These answer with Forbidden, unless
// they name another code; webhooks that name none answer with a bad request.
func Refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}
