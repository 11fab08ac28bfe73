// Package gitrefs polls git repositories in the background: which commit does a
// ref name now.
//
// A reconcile pass calls [Poller.Lookup], which returns at once with what is
// known, and starts a look-up if one is due. When the answer changes what is
// known, the source of [Poller.Source] wakes the objects that asked.
//
// A push that was reported makes the look-ups of its repository due earlier:
// [Poller.Pushed].
//
// Look-ups are bounded and fair. Each ref is looked up at most once per
// interval, however many passes ask, and at most once per PushInterval, however
// many pushes are reported; one that fails is looked up less and less
// often. A look-up ends after a timeout. At most maxLookups run at once, at most
// maxPerNamespace of them for one namespace, and a free place goes to the
// namespaces in turn: servers that hang in one namespace cannot hold up another
// namespace's look-ups. Nothing is shared between namespaces.
//
// The package does not depend on the use of the commits, and keeps nothing
// across a restart: the caller keeps the last known commit in a status.
package gitrefs
