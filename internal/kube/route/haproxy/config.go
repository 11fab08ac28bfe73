package haproxy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"text/template"
	"time"
)

// Config is what haproxy.cfg depends on.
type Config struct {
	// Name of the proxy, in error texts.
	Name string
	// Instances in the order of the file. At least one.
	Instances []Instance
	// Bind and PagesBind are addresses to listen on, ":8080" style: for
	// clients, and for /metrics and /healthz.
	Bind, PagesBind string
	// CertificateFile holds certificate and key in PEM; empty serves plain
	// HTTP.
	CertificateFile string
	// ClientsFile holds the digests of the credentials that clients need, as
	// router.Digest makes them; empty: they need none.
	ClientsFile string
	// RunDir is a directory for sockets that only this router's pod reaches;
	// needed with CertificateFile and ClientsFile, and for external instances.
	RunDir string
	// CAFile verifies external instances; empty: what the system trusts.
	CAFile string
	// Agent is the sidecar's address, on loopback.
	Agent string
	// Answers is where the sidecar takes requests whose answers must arrive
	// complete and unaltered, and Attempts where this router takes them back to
	// ask an instance, both on loopback; empty: answers are not checked.
	Answers, Attempts string
	// PassModules: only what is of the checksum database goes to the sidecar.
	PassModules bool
	// CheckPath is what the health checks ask every instance for: 200 to 399
	// is healthy. Default /readyz.
	CheckPath string
	// MaxConnections of clients, default 4000.
	MaxConnections int
	Timeouts       Timeouts
}

// Instance is one server.
type Instance struct {
	// Name is a DNS-1035 label, and the server's name in the weights.
	Name string
	// Address is host:port. A host name is resolved once, at the start: use
	// an IP that stays.
	Address string
	// External is the URL of the GOPROXY root of an external instance, in place
	// of Address. Its name is resolved again and again, and with https its
	// certificate is verified.
	External string
	// CheckPath is what the health checks ask this instance for, in place of
	// the router's. It has no meaning for an external one.
	CheckPath string
	// CheckPort is where the health checks ask at the host of Address; 0: at
	// Address itself. It has no meaning for an external one.
	CheckPort int32
	// Standby serves only when no other instance can.
	Standby bool
}

// Timeouts of the router; zero means the default named beside each.
type Timeouts struct {
	Connect time.Duration // 2s
	Check   time.Duration // 1s
	Client  time.Duration // 2m, of a client that neither sends nor takes
	// Until an instance begins its answer, or goes on with it. A fetch from the
	// upstream goes on meanwhile, and the request is made again.
	Server  time.Duration // 30s
	Archive time.Duration // 1m, the same for .zip
	// Until the sidecar begins an answer: longer than its first attempt, which
	// may meet three servers.
	Sidecar time.Duration // 4m
	Stop    time.Duration // 10m, for downloads under way at a stop
}

func (c *Config) setDefaults() {
	if c.CheckPath == "" {
		c.CheckPath = "/readyz"
	}
	if c.CAFile == "" {
		c.CAFile = "@system-ca"
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 4000
	}
	t := &c.Timeouts
	for _, timeout := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Connect, 2 * time.Second}, {&t.Check, time.Second}, {&t.Client, 2 * time.Minute},
		{&t.Server, 30 * time.Second}, {&t.Archive, time.Minute}, {&t.Sidecar, 4 * time.Minute}, {&t.Stop, 10 * time.Minute},
	} {
		if *timeout.field == 0 {
			*timeout.field = timeout.value
		}
	}
}

// Path prefixes of the second and third mention of a router in GOPROXY. No
// module path begins like this.
const (
	SecondAttempt = "/~2"
	ThirdAttempt  = "/~3"
)

// GOPROXY is the value under which clients are to use the router at url. The
// go command goes on to the next entry after any error, also one in the
// middle of a body.
func GOPROXY(url string) string {
	return url + "|" + url + SecondAttempt + "|" + url + ThirdAttempt
}

// Attempts are the URLs under which a router that takes requests back at
// an address gives the answers of instances.
func Attempts(address string) []string {
	url := "http://" + address
	return []string{url, url + SecondAttempt, url + ThirdAttempt}
}

// instanceHeader names the instance that answered to the sidecar.
const instanceHeader = "X-Gocache-Instance"

func (c Config) allConnections() int {
	if c.Answers == "" {
		return c.MaxConnections
	}
	return 2 * c.MaxConnections
}

func reversed(instances []Instance) []Instance {
	result := slices.Clone(instances)
	slices.Reverse(result)
	return result
}

//go:embed haproxy.cfg.tmpl
var configText string

var configTemplate = template.Must(template.New("haproxy.cfg").Option("missingkey=error").Funcs(template.FuncMap{
	"ms": func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) + "ms" },
}).Parse(configText))

// Nothing that reaches the file may hold what HAProxy would read as more than
// one word.
var (
	label   = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	urlPath = regexp.MustCompile(`^/[-A-Za-z0-9._~/]*$`)
	file    = regexp.MustCompile(`^(/[-A-Za-z0-9._]+)+$`)
	host    = regexp.MustCompile(`^[-A-Za-z0-9.:]*$`)
)

// Render writes haproxy.cfg. It fails on input that would not make a meaningful
// file; the error names the cause.
func Render(c Config) (string, error) {
	c.Instances = slices.Clone(c.Instances)
	c.setDefaults()
	if err := c.validate(); err != nil {
		return "", fmt.Errorf("render haproxy.cfg: %w", err)
	}
	externals, err := c.externals()
	if err != nil {
		return "", fmt.Errorf("render haproxy.cfg: %w", err)
	}
	agentHost, agentPort, err := net.SplitHostPort(c.Agent)
	if err != nil {
		return "", fmt.Errorf("render haproxy.cfg: agent: %w", err)
	}
	var out bytes.Buffer
	err = configTemplate.Execute(&out, struct {
		Config
		AgentAddress, AgentPort     string
		SecondAttempt, ThirdAttempt string
		CheckURI                    string
		InstanceHeader              string
		AllConnections              int
		Instances, Reversed         []Instance
		Externals                   []external
	}{c, agentHost, agentPort, SecondAttempt, ThirdAttempt, c.checkURI(), instanceHeader, c.allConnections(), c.Instances, reversed(c.Instances), externals})
	if err != nil {
		return "", fmt.Errorf("render haproxy.cfg: %w", err)
	}
	return out.String(), nil
}

func (c Config) validate() error {
	if !label.MatchString(c.Name) {
		return fmt.Errorf("name %q is no DNS-1035 label", c.Name)
	}
	if (c.Answers == "") != (c.Attempts == "") {
		return errors.New("answers and attempts go together")
	}
	if len(c.Instances) == 0 {
		return errors.New("there is no instance")
	}
	if !urlPath.MatchString(c.CheckPath) {
		return fmt.Errorf("check path %q is no plain URL path", c.CheckPath)
	}
	if c.CertificateFile != "" && !file.MatchString(c.CertificateFile) {
		return fmt.Errorf("certificate file %q is no plain absolute path", c.CertificateFile)
	}
	if c.ClientsFile != "" && !file.MatchString(c.ClientsFile) {
		return fmt.Errorf("clients file %q is no plain absolute path", c.ClientsFile)
	}
	if c.CAFile != "@system-ca" && !file.MatchString(c.CAFile) {
		return fmt.Errorf("CA file %q is no plain absolute path", c.CAFile)
	}
	if c.CertificateFile != "" || c.ClientsFile != "" || slices.ContainsFunc(c.Instances, Instance.isExternal) {
		if !file.MatchString(c.RunDir) {
			return fmt.Errorf("run directory %q is no plain absolute path", c.RunDir)
		}
	}
	for field, address := range map[string]string{"bind": c.Bind, "pages bind": c.PagesBind, "agent": c.Agent, "answers": c.Answers, "attempts": c.Attempts} {
		if address == "" && (field == "answers" || field == "attempts") {
			continue
		}
		if err := checkAddress(address); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	seen := map[string]bool{}
	for _, instance := range c.Instances {
		if !label.MatchString(instance.Name) {
			return fmt.Errorf("instance name %q is no DNS-1035 label", instance.Name)
		}
		if seen[instance.Name] {
			return fmt.Errorf("instance %q is given twice", instance.Name)
		}
		seen[instance.Name] = true
		if err := c.validateInstance(instance); err != nil {
			return fmt.Errorf("instance %q: %w", instance.Name, err)
		}
	}
	return nil
}

func (c Config) validateInstance(i Instance) error {
	if i.CheckPath != "" && !urlPath.MatchString(i.CheckPath) {
		return fmt.Errorf("check path %q is no plain URL path", i.CheckPath)
	}
	if i.isExternal() {
		if i.Address != "" {
			return errors.New("it has an address and is external")
		}
		return nil // looked at when it is taken apart
	}
	return checkAddress(i.Address)
}

func checkAddress(address string) error {
	h, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || !host.MatchString(h) {
		return fmt.Errorf("address %q is no host:port", address)
	}
	return nil
}
