package imports

// module is the import path of this repository.
const module = "gocache.dev/operator"

// rule is what the packages of one folder, and of the folders below it, may
// import. The rule of the longest matching folder applies; a package without a
// rule is a violation.
type rule struct {
	// dir relative to the top; "." is the top itself.
	dir string
	// exact is true when the rule is for dir alone, without the folders below.
	exact bool
	// may lists the folders of this repository that it may import, beside
	// itself. "*" is all of them.
	may []string
	// isolated is true when packages of this folder must not import each other.
	isolated bool
	// bans are imports from elsewhere that the folder must do without.
	bans []ban
	// why is the reason, printed with a violation.
	why string
}

// ban refuses an import from outside this repository, or from the standard
// library.
type ban struct {
	// path of the import; the packages below it are banned as well.
	path string
	// deep bans also what is imported by way of others.
	deep bool
	// why is the reason, printed with a violation.
	why string
}

var (
	noKubernetes = []ban{
		{"k8s.io", true, "this code must not depend on Kubernetes"},
		{"sigs.k8s.io", true, "this code must not depend on Kubernetes"},
	}
	pure = []ban{
		{"k8s.io/client-go", true, "a plan has no client: it gets facts and returns a decision"},
		{"sigs.k8s.io/controller-runtime", true, "a plan has no client: it gets facts and returns a decision"},
		{"context", false, "a plan never waits, so it has nothing to cancel"},
		{"os", false, "a plan reads no environment and no file"},
		{"math/rand", false, "a plan is repeatable: derive spread from a hash of the object's name"},
		{"crypto/rand", false, "a plan is repeatable: derive spread from a hash of the object's name"},
		{"log", false, "a plan reports through its result"},
		{"github.com/go-logr", false, "a plan reports through its result"},
		{"k8s.io/klog", false, "a plan reports through its result"},
		{"net/http", false, "a plan has no client: it gets facts and returns a decision"},
	}
	noManager = []ban{
		{"sigs.k8s.io/controller-runtime", true, "the router watches one object; a manager would be most of its memory"},
	}
)

// partOfGoCache is what each part of the GoCache controller may import.
var partOfGoCache = []string{"controllers/gocache/pass", "api", "internal/plan", "internal/kube", "internal/domain"}

// partOfModProxy is what each part of the ModProxy controller may import.
var partOfModProxy = []string{"controllers/modproxy/pass", "api", "internal/plan", "internal/kube", "internal/domain"}

const partsAreSeparate = "a part of a controller sees what was observed, and another part's results only by the controller's hand"

// rules are all import rules.
var rules = []rule{
	{dir: ".", exact: true, may: []string{"internal/cmd/manager"},
		why: "main.go only starts the manager's command"},
	{dir: "api", why: "the API names things and depends on none of them"},

	{dir: "controllers", exact: true, may: []string{"controllers", "internal/kube", "api", "internal/domain/untrusted", "internal/domain/egress"},
		why: "setup.go lists the controllers and hands them what they need"},
	{dir: "controllers", isolated: true, may: []string{"api", "internal/plan", "internal/kube", "internal/prober", "internal/domain"},
		why: "a controller observes, asks plan, and acts through kube; controllers meet through API objects only"},
	{dir: "controllers/gocache/pass", may: []string{"api", "internal/plan", "internal/kube", "internal/domain"},
		why: "what the parts of a controller share depends on none of them"},
	{dir: "controllers/gocache/snapshots", may: partOfGoCache, why: partsAreSeparate},
	{dir: "controllers/gocache/provision", may: partOfGoCache, why: partsAreSeparate},
	{dir: "controllers/gocache/pool", may: partOfGoCache, why: partsAreSeparate},
	{dir: "controllers/gocache/replacement", may: partOfGoCache, why: partsAreSeparate},
	{dir: "controllers/gocache/writer", may: partOfGoCache, why: partsAreSeparate},
	{dir: "controllers/modproxy/pass", may: []string{"api", "internal/plan", "internal/kube", "internal/prober", "internal/domain"},
		why: "what the parts of a controller share depends on none of them"},
	{dir: "controllers/modproxy/instances", may: partOfModProxy, why: partsAreSeparate},
	{dir: "controllers/modproxy/storerollback", may: partOfModProxy, why: partsAreSeparate},

	{dir: "internal/domain", bans: noKubernetes,
		why: "domain holds the rules of Go's caches and proxies, usable without the rest"},
	{dir: "internal/plan", may: []string{"api", "internal/domain"}, bans: pure,
		why: "plan decides from values alone"},
	{dir: "internal/kube", may: []string{"api", "internal/plan", "internal/domain", "internal/router/weights", "internal/router/certificate"},
		why: "kube carries out decisions and depends on no controller"},
	{dir: "internal/prober", may: []string{"internal/plan", "internal/domain"},
		why: "the prober observes instances for a controller: it handles targets and outcomes, and no API object"},
	{dir: "internal/agent", may: []string{"internal/domain"}, bans: noKubernetes,
		why: "the agent runs in pods without a token, and on laptops"},
	{dir: "internal/proxy", may: []string{"internal/domain"}, bans: noKubernetes,
		why: "the proxy serves modules and depends on no cluster"},
	{dir: "internal/router/weights", bans: noKubernetes,
		why: "the format of the weights is shared by the writer and the reader and needs neither"},
	{dir: "internal/router/certificate", bans: noKubernetes,
		why: "the format of the weights is shared by the writer and the reader and needs neither"},
	{dir: "internal/router", may: []string{"internal/domain"}, bans: noManager,
		why: "the router reads weights, answers HAProxy, and reads the files of modules"},
	{dir: "internal/cli", may: []string{"api", "internal/plan", "internal/kube", "internal/domain"},
		why: "the command line uses the same decisions as the operator, but runs no controller"},

	{dir: "internal/cmd", isolated: true, may: []string{"*"},
		why: "each program starts itself alone"},
	{dir: "internal/cmd/gocache-agent", may: []string{"internal/agent", "internal/domain"}, bans: noKubernetes,
		why: "the agent runs in pods without a token, and on laptops"},
	{dir: "internal/cmd/gocache-proxy", may: []string{"internal/proxy", "internal/domain"}, bans: noKubernetes,
		why: "the proxy serves modules and depends on no cluster"},
	{dir: "internal/cmd/gocache-router", may: []string{"internal/router", "internal/domain/version"}, bans: noManager,
		why: "the router reads weights and answers HAProxy"},

	{dir: "internal/cmd/kubectl-gocache", may: []string{"internal/cli", "internal/domain/version"},
		why: "the plugin runs on laptops and starts no controller"},

	{dir: "internal/testing", may: []string{"*"}, why: "helpers of tests may reach everything"},
	{dir: "test", may: []string{"*"}, why: "black-box tests may reach everything"},
	{dir: "hack", may: []string{"*"}, why: "tools of this repository may reach everything"},
}

// testHelpers is the folder that only tests may import.
const testHelpers = "internal/testing"

// mayUseTesting lists the folders that hold nothing but tests and their helpers.
var mayUseTesting = []string{testHelpers, "test"}

// lines bounds the files that only start something: flags in, one call out.
var lines = []struct {
	dir   string
	most  int
	exact bool
}{
	{".", 40, true},
	{"internal/cmd", 150, false},
}

// topLevel lists what may be at the top of the repository: what a user or a
// contributor looks for there.
var topLevel = map[string]bool{
	"README.md": true, "LICENSE": true, "SECURITY.md": true, "CHANGELOG.md": true, "CONTRIBUTING.md": true, "PROJECT": true,
	"Makefile": true, "Dockerfile": true, "go.mod": true, "go.sum": true, "main.go": true,
	"api": true, "config": true, "controllers": true, "docs": true, "hack": true, "internal": true, "test": true,
	".ci": true, ".dockerignore": true, ".editorconfig": true, ".git": true, ".gitignore": true, ".golangci.yml": true,
	// Left by the build and ignored by git.
	"bin": true, "dist": true,
}
