package cli

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// Args are the arguments of the command when the program was called with argv, its
// name first. kubectl completes the command line of a plugin by a program with the
// name of the plugin after kubectl_complete-; a link to this one will do.
func Args(argv []string) []string {
	if strings.HasPrefix(filepath.Base(argv[0]), "kubectl_complete-") {
		return append([]string{cobra.ShellCompRequestCmd}, argv[1:]...)
	}
	return argv[1:]
}

// following proposes what may follow the first argument of a command.
type following func(ctx context.Context, c client.Reader, namespace, first string) ([]string, error)

// complete proposes to the shell the names of objects as the first argument.
func (a *app) complete(kinds ...string) cobra.CompletionFunc { return a.completeBoth(nil, kinds...) }

// completeBoth is complete, with proposals for the second argument.
func (a *app) completeBoth(second following, kinds ...string) cobra.CompletionFunc {
	return a.propose(func(ctx context.Context, c client.Reader, namespace string, args []string) ([]string, error) {
		switch {
		case len(args) == 0:
			return targets(ctx, c, namespace, kinds)
		case len(args) == 1 && second != nil:
			return second(ctx, c, namespace, args[0])
		}
		return nil, nil
	})
}

// propose passes on to the shell what can be an argument after those that there are.
func (a *app) propose(next func(ctx context.Context, c client.Reader, namespace string, args []string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, namespace, err := a.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := next(cmd.Context(), c, namespace, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// storageClasses proposes a StorageClass.
func storageClasses(ctx context.Context, c client.Reader, _ string, args []string) ([]string, error) {
	if len(args) > 0 {
		return nil, nil
	}
	var list storagev1.StorageClassList
	err := c.List(ctx, &list)
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, err
}

// anySnapshot proposes a CacheSnapshot.
func anySnapshot(ctx context.Context, c client.Reader, namespace, _ string) ([]string, error) {
	return targets(ctx, c, namespace, []string{v1alpha1.CacheSnapshotKind})
}

// snapshotsOf proposes the CacheSnapshots of a GoCache.
func snapshotsOf(ctx context.Context, c client.Reader, namespace, first string) ([]string, error) {
	t, err := parseTarget(first, v1alpha1.GoCacheKind)
	if err != nil {
		return nil, err
	}
	var list v1alpha1.CacheSnapshotList
	err = c.List(ctx, &list, client.InNamespace(namespace))
	var names []string
	for i := range list.Items {
		if of := list.Items[i].Spec.SourceRef; of.Kind == t.Kind && of.Name == t.Name {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, err
}

// instancesOf proposes the instances of a ModProxy.
func instancesOf(ctx context.Context, c client.Reader, namespace, first string) ([]string, error) {
	t, err := parseTarget(first, v1alpha1.ModProxyKind, v1alpha1.GoCacheKind, v1alpha1.CacheSnapshotKind)
	if err != nil || t.Kind != v1alpha1.ModProxyKind {
		return nil, err
	}
	var proxy v1alpha1.ModProxy
	err = c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: t.Name}, &proxy)
	var names []string
	for _, i := range proxy.Spec.Instances {
		names = append(names, i.Name)
	}
	return names, err
}

// instancesAfterKind proposes the instances of what is named as a ModProxy.
func instancesAfterKind(ctx context.Context, c client.Reader, namespace, first string) ([]string, error) {
	if !strings.Contains(first, "/") {
		return nil, nil // the name of a GoCache
	}
	return instancesOf(ctx, c, namespace, first)
}

// planOf proposes the digest of the cleanup plan that waits for an approval.
func planOf(ctx context.Context, c client.Reader, namespace, first string) ([]string, error) {
	t, err := parseTarget(first, v1alpha1.GoCacheKind)
	if err != nil {
		return nil, err
	}
	var cache v1alpha1.GoCache
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: t.Name}, &cache); err != nil {
		return nil, err
	}
	if cache.Status.Cleanup == nil || cache.Status.Cleanup.LastPlan == nil || !cache.Status.Cleanup.LastPlan.Open {
		return nil, nil
	}
	return []string{cache.Status.Cleanup.LastPlan.Digest}, nil
}

// targets are the objects of a namespace as commands accept them.
func targets(ctx context.Context, c client.Reader, namespace string, kinds []string) ([]string, error) {
	lists := map[string]client.ObjectList{
		v1alpha1.GoCacheKind: &v1alpha1.GoCacheList{}, v1alpha1.ModProxyKind: &v1alpha1.ModProxyList{}, v1alpha1.CacheSnapshotKind: &v1alpha1.CacheSnapshotList{},
	}
	var names []string
	for i, kind := range kinds {
		list := lists[kind]
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		prefix := strings.ToLower(kind) + "/"
		if i == 0 {
			prefix = ""
		}
		for _, name := range namesOf(list) {
			names = append(names, prefix+name)
		}
	}
	return names, nil
}

func namesOf(list client.ObjectList) []string {
	var names []string
	switch l := list.(type) {
	case *v1alpha1.GoCacheList:
		for i := range l.Items {
			names = append(names, l.Items[i].Name)
		}
	case *v1alpha1.ModProxyList:
		for i := range l.Items {
			names = append(names, l.Items[i].Name)
		}
	case *v1alpha1.CacheSnapshotList:
		for i := range l.Items {
			names = append(names, l.Items[i].Name)
		}
	}
	return names
}
