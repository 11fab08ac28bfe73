package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
)

// shells are the formats of variables: each with the function that writes one.
var shells = map[string]func(name, value string) (string, error){
	"sh": func(name, value string) (string, error) {
		return "export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'", nil
	},
	"fish": func(name, value string) (string, error) {
		return "set -gx " + name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(value) + "'", nil
	},
	"powershell": func(name, value string) (string, error) {
		// Quotation marks of texts end a string as well. Each is doubled.
		return "$Env:" + name + " = '" + strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019",
			"\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b").Replace(value) + "'", nil
	},
	// For files with one variable a line, which cannot quote.
	"dotenv": func(name, value string) (string, error) {
		if strings.ContainsAny(value, "\r\n") {
			return "", fmt.Errorf("variable %s has a line break, which the format dotenv cannot hold", name)
		}
		return name + "=" + value, nil
	},
}

func (a *app) envCommand() *cobra.Command {
	var offline bool
	var shell string
	cmd := &cobra.Command{
		Use:   "env CACHE",
		Short: "Print the environment for builds that use a cache",
		Long: `Print the environment for builds that use a cache, as the operator publishes it
in the ConfigMaps CACHE-env and CACHE-env-offline. GOMODCACHE and GOCACHE are
paths in a pod that mounts a clone of the cache.`,
		Example: `  eval "$(kubectl gocache env ci)"
  kubectl gocache env ci --offline --shell dotenv >> build.env`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(v1alpha1.GoCacheKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0], v1alpha1.GoCacheKind)
			if err != nil {
				return err
			}
			format, ok := shells[shell]
			if !ok {
				return fmt.Errorf("--shell %q: want one of %s", shell, strings.Join(slices.Sorted(maps.Keys(shells)), ", "))
			}
			c, namespace, err := a.connect()
			if err != nil {
				return err
			}
			suffix := naming.Environment
			if offline {
				suffix = naming.OfflineEnvironment
			}
			key := client.ObjectKey{Namespace: namespace, Name: naming.Child(target.Name, suffix)}
			var published corev1.ConfigMap
			err = c.Get(cmd.Context(), key, &published)
			if apierrors.IsNotFound(err) {
				if gone := c.Get(cmd.Context(), client.ObjectKey{Namespace: namespace, Name: target.Name}, &v1alpha1.GoCache{}); gone != nil {
					return gone
				}
				return fmt.Errorf("ConfigMap %s does not exist yet: see kubectl gocache status %s -n %s", key.Name, target.Name, namespace)
			}
			if err != nil {
				return err
			}
			// The operator's own object: another could set any variable of this shell.
			if published.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || published.Labels[v1alpha1.CacheLabel] != target.Name {
				return fmt.Errorf("ConfigMap %s is not the operator's: it does not have the labels of GoCache %s", key.Name, target.Name)
			}
			return a.export(published.Data, format)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&offline, "offline", false, "for builds that use the clone alone, without a proxy")
	f.StringVar(&shell, "shell", "sh", "sh, fish, powershell or dotenv")
	return cmd
}

func (a *app) export(data map[string]string, format func(name, value string) (string, error)) error {
	if len(data) == 0 {
		return errors.New("the ConfigMap has no variables yet")
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !identifier(name) {
			return fmt.Errorf("the ConfigMap has the key %q, which is no name of a variable", name)
		}
		line, err := format(name, data[name])
		if err != nil {
			return err
		}
		b.WriteString(line + "\n")
	}
	_, err := fmt.Fprint(a.Out, b.String())
	return err
}

// identifier reports whether a shell accepts the name. A key such as "A;rm" of a
// ConfigMap would be a command.
func identifier(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
