package selftest

import "gocache.dev/operator/hack/devcluster/internal/image"

// namespace is where all objects of the test are. PodSecurity holds there as it
// would for the operator's own pods.
const namespace = "selftest"

const objects = `
apiVersion: v1
kind: Namespace
metadata:
  name: selftest
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: source, namespace: selftest}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: fixed, namespace: selftest}
spec: {accessModes: [ReadWriteOnce], storageClassName: fixed-size, resources: {requests: {storage: 64Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: selftest}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

const snapshotObject = `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: snapshot, namespace: selftest}
spec: {source: {persistentVolumeClaimName: source}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: restored, namespace: selftest}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 128Mi}}
  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: snapshot}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cloned, namespace: selftest}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 64Mi}}
  dataSource: {kind: PersistentVolumeClaim, name: source}
`

const faultySnapshot = `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: faulty, namespace: selftest}
spec: {source: {persistentVolumeClaimName: source}}
`

const privilegedPod = `
apiVersion: v1
kind: Pod
metadata: {name: privileged, namespace: selftest}
spec: {containers: [{name: c, image: "` + image.BusyboxRef + `", securityContext: {privileged: true}}]}
`

const webPod = `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: selftest, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
` + restricted + `
  containers:
  - name: c
    image: ` + image.BusyboxRef + `
    command: [sh, -c, "mkdir /tmp/w; echo hello > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
` + restrictedContainer

// restricted is what PodSecurity's strictest level asks for.
const restricted = `  securityContext:
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    runAsNonRoot: true
    seccompProfile: {type: RuntimeDefault}`

const restrictedContainer = `    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// job runs a shell script with a PVC mounted at /d.
func job(name, claim, script string) string {
	return `
apiVersion: batch/v1
kind: Job
metadata: {name: ` + name + `, namespace: selftest}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext:
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: c
        image: ` + image.BusyboxRef + `
        command: [sh, -exc, "` + script + `"]
        volumeMounts: [{name: d, mountPath: /d}]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumes: [{name: d, persistentVolumeClaim: {claimName: ` + claim + `}}]
`
}
