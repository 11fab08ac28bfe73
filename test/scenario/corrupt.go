package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// invertBit changes one bit in the middle of the file "$f". The size stays: the go
// command would not notice.
const invertBit = `
    b=$(dd if="$f" bs=1 skip=40000 count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
    printf "\\$(printf %o $((b ^ 1)))" | dd of="$f" bs=1 seek=40000 conv=notrunc 2>/dev/null
    echo "inverted $f"
`

// invert changes a bit of an archive that the compiler has built and the cache keeps.
// One whose bit an earlier run has changed is left: it would be intact again.
const invert = `
set -eu
cd ` + mount + `/build
find . -name '*-d' -size +60k | sort > /tmp/list
while read -r f; do
  name=${f##*/}
  if [ "$(head -c 7 "$f")" = '!<arch>' ] && [ "$(sha256sum < "$f" | head -c 64)" = "${name%-d}" ]; then` + invertBit + `    exit 0
  fi
done < /tmp/list
echo "no archive found"; exit 1
`

// invertBack changes the bit of a file back.
const invertBack = `
set -eu
cd ` + mount + `
f=$FILE` + invertBit

// forge points an action entry at the output of another one, and plants a
// repository whose configuration runs a command: no hash is wrong.
const forge = `
set -eu
cd ` + mount + `/build
find . -name '*-a' | sort > /tmp/list
first=$(head -n 1 /tmp/list)
read -r _ id out _ time < "$first"
while read -r f; do
  read -r _ _ other size _ < "$f"
  if [ "$other" != "$out" ]; then
    printf 'v1 %s %s %20s %20s\n' "$id" "$other" "$size" "$time" > "$first"
    mkdir -p ../mod/cache/vcs/forged
    printf '[core]\n\tfsmonitor = touch /tmp/forged\n' > ../mod/cache/vcs/forged/config
    echo "forged $first"
    exit 0
  fi
done < /tmp/list
echo "no second output found"; exit 1
`

// Forge changes the cache PVC as a pod of another client that has it mounted, so
// that every part stays intact by itself, and names the action entry.
func (s *Scenario) Forge(ctx context.Context) (string, error) {
	if err := s.start(ctx, task{name: "forge", script: forge, claim: Cache}); err != nil {
		return "", err
	}
	out, err := s.finish(ctx, "forge", 2*time.Minute)
	if err != nil {
		return "", err
	}
	_, file, ok := strings.Cut(strings.TrimSpace(out), "forged ./")
	if !ok {
		return "", fmt.Errorf("the task printed no file: %s", out)
	}
	return file, nil
}

// CorruptArchive inverts a bit of a built archive on the cache PVC, as a failing
// disk would, and names the file.
func (s *Scenario) CorruptArchive(ctx context.Context) (string, error) {
	if err := s.start(ctx, task{name: "invert", script: invert, claim: Cache}); err != nil {
		return "", err
	}
	out, err := s.finish(ctx, "invert", 2*time.Minute)
	if err != nil {
		return "", err
	}
	_, file, ok := strings.Cut(strings.TrimSpace(out), "inverted ")
	if !ok {
		return "", fmt.Errorf("the task printed no file: %s", out)
	}
	return "build/" + strings.TrimPrefix(file, "./"), nil
}

// UndoCorruption inverts the bit of an archive back that CorruptArchive has inverted.
func (s *Scenario) UndoCorruption(ctx context.Context, file string) error {
	const name = "invert-back"
	if err := s.start(ctx, task{name: name, script: invertBack, claim: Cache, vars: map[string]string{"FILE": file}}); err != nil {
		return err
	}
	if _, err := s.finish(ctx, name, 2*time.Minute); err != nil {
		return err
	}
	return s.remove(ctx, name)
}

// Snapshot requests a snapshot of the cache and waits until its fate is known,
// one way or the other.
func (s *Scenario) Snapshot(ctx context.Context, token string) (v1alpha1.CacheSnapshot, error) {
	var snap v1alpha1.CacheSnapshot
	q, err := s.Request(ctx, v1alpha1.GoCacheKind, Cache, "snapshot-"+token, v1alpha1.RequestSnapshot, "")
	if err != nil {
		return snap, err
	}
	var name string
	if n, err := fmt.Sscanf(q.Status.Message, "CacheSnapshot %s was made", &name); err != nil || n != 1 {
		return snap, fmt.Errorf("the outcome names no snapshot: %q", q.Status.Message)
	}
	err = Until(ctx, 5*time.Minute, "the verdict on snapshot "+name, func(ctx context.Context) (bool, string, error) {
		if err := s.get(ctx, name, &snap); err != nil {
			return false, "", err
		}
		_, saw := ready(snap.Status.Conditions)
		v := snap.Status.Verification.Verdict
		return v == v1alpha1.VerdictIntact || v == v1alpha1.VerdictCorrupt, saw, nil
	})
	return snap, err
}
