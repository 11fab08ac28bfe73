package cached

import (
	"reflect"
	"sync"
	"time"
)

const (
	// maxTexts is how many strings are shared; they are forgotten when there are more, and
	// those that are common come back with the next objects.
	maxTexts = 8192
	// maxText is the length of one.
	maxText = 256
)

// shared are the strings that objects in caches have in common, such as names of caches,
// labels and reasons: decoders make a string of its own for each field of each object.
var shared = texts{all: map[string]string{}}

type texts struct {
	mu  sync.Mutex
	all map[string]string
}

// one returns the string that stands for all that are equal to it.
func (t *texts) one(s string) string {
	if s == "" || len(s) > maxText {
		return s
	}
	if is, ok := t.all[s]; ok {
		return is
	}
	if len(t.all) == maxTexts {
		clear(t.all)
	}
	t.all[s] = s
	return s
}

// share replaces the strings of an object by those that others have too, and gives up what
// its lists have room for: decoders make room for four.
func (t *texts) share(object any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in(reflect.ValueOf(object))
}

func (t *texts) in(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // the rest has no strings
	case reflect.String:
		if v.CanSet() {
			v.SetString(t.one(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			t.in(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		if v.Cap() > v.Len() && v.CanSet() {
			clipped := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(clipped, v)
			v.Set(clipped)
		}
		for i := range v.Len() {
			t.in(v.Index(i))
		}
	case reflect.Map:
		if v.CanSet() && v.Len() > 0 && v.Type() == reflect.TypeFor[map[string]string]() {
			same := make(map[string]string, v.Len())
			for key, value := range v.Interface().(map[string]string) {
				same[t.one(key)] = t.one(value)
			}
			v.Set(reflect.ValueOf(same))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() { // refers to the time zone, which is shared
			return
		}
		for i := range v.NumField() {
			t.in(v.Field(i))
		}
	}
}
