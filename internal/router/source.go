package router

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"gocache.dev/operator/internal/router/weights"
)

// followFile offers a file's content now, and again whenever it differs. The
// kubelet refreshes a mounted ConfigMap within about a minute, so this is
// also the way by which an intent arrives when the watch is forbidden or
// broken.
func followFile(ctx context.Context, intent *Intent, file string, interval time.Duration) {
	var last []byte
	failing := false
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(filepath.Clean(file))
		switch {
		case err != nil && !failing: // once: a missing mount does not fill the log
			intent.refuse("file", err)
		case err == nil && !bytes.Equal(text, last):
			intent.Offer("file", text)
			last = text
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// followConfigMap watches one ConfigMap by name, with the field selector
// without which a Role restricted to that name does not allow it.
func followConfigMap(ctx context.Context, intent *Intent, client kubernetes.Interface, namespace, name string, log logr.Logger) error {
	byName := fields.OneTermEqualSelector("metadata.name", name).String()
	configMaps := client.CoreV1().ConfigMaps(namespace)
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = byName
			return configMaps.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = byName
			return configMaps.Watch(ctx, options)
		},
	}, client)
	informer := cache.NewSharedInformer(lw, &corev1.ConfigMap{}, 0)
	offer := func(object any) {
		cm, ok := object.(*corev1.ConfigMap)
		if !ok || cm.Name != name {
			return
		}
		intent.Offer("watch", []byte(cm.Data[weights.Key]))
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    offer,
		UpdateFunc: func(_, object any) { offer(object) },
		DeleteFunc: func(any) { log.Info("The ConfigMap is gone; the weights stay as they were", "configMap", name) },
	})
	if err != nil {
		return fmt.Errorf("watch ConfigMap %s/%s: %w", namespace, name, err)
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		intent.refuse("watch", fmt.Errorf("watch ConfigMap %s/%s: %w", namespace, name, err))
	}); err != nil {
		return fmt.Errorf("watch ConfigMap %s/%s: %w", namespace, name, err)
	}
	informer.RunWithContext(ctx)
	return nil
}
