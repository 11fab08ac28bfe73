package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	predicateType = "https://slsa.dev/provenance/v1"
	payloadType   = "application/vnd.in-toto+json"
	buildType     = "https://gocache.dev/operator/hack/release/v1"
	builder       = "https://gocache.dev/operator/make/release"
	sums          = "SHA256SUMS"
)

// key signs; nil signs nothing.
type key struct {
	*signerverifier.ED25519SignerVerifier
}

func loadKey(file string) (*key, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	k, err := signerverifier.LoadKey(data)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w: want an Ed25519 key, as openssl genpkey -algorithm ed25519 writes it", file, err)
	}
	if k.KeyType != signerverifier.ED25519KeyType || k.KeyVal.Private == "" {
		return nil, fmt.Errorf("signing key %s: want a private Ed25519 key, whose signatures are reproducible", file)
	}
	signer, err := signerverifier.NewED25519SignerVerifierFromSSLibKey(k)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", file, err)
	}
	return &key{signer}, nil
}

// publicPEM is the public key as openssl and cosign read it.
func (k *key) publicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// writeProvenance states what the files were built from.
func writeProvenance(ctx context.Context, o Options, image string, k *key) error {
	statement, err := statementOf(o, image)
	if err != nil {
		return err
	}
	if k == nil {
		return o.write("provenance.intoto.json", statement)
	}
	signer, err := dsse.NewEnvelopeSigner(k)
	if err != nil {
		return err
	}
	envelope, err := signer.SignPayload(ctx, payloadType, statement)
	if err != nil {
		return err
	}
	data, err := json.Marshal(envelope)
	if err != nil {
		return err
	}
	return o.write("provenance.intoto.json", append(data, '\n'))
}

func statementOf(o Options, image string) ([]byte, error) {
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: predicateType, Subject: []*intoto.ResourceDescriptor{
		{Name: o.Repository, Digest: map[string]string{"sha256": strings.TrimPrefix(image, "sha256:")}},
	}}
	for _, name := range names {
		sum, err := o.sum(name)
		if err != nil {
			return nil, err
		}
		s.Subject = append(s.Subject, &intoto.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": sum}})
	}
	if s.Predicate, err = predicateOf(o); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return stableJSON(protojson.Marshal(s))
}

func predicateOf(o Options) (*structpb.Struct, error) {
	parameters, err := structpb.NewStruct(map[string]any{"version": o.Version, "repository": o.Repository, "url": o.URL})
	if err != nil {
		return nil, err
	}
	materials := []*intoto.ResourceDescriptor{
		source(o),
		{Name: "go", Uri: "https://go.dev/dl/" + o.toolchain.version},
	}
	modules, err := material("go.sum", filepath.Join(o.Root, "go.sum"))
	if err != nil {
		return nil, err
	}
	authorities, err := material("ca-certificates", o.Certificates)
	if err != nil {
		return nil, err
	}
	p := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{BuildType: buildType, ExternalParameters: parameters, ResolvedDependencies: append(materials, modules, authorities)},
		RunDetails:      &provenance.RunDetails{Builder: &provenance.Builder{Id: builder}},
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	data, err := protojson.Marshal(p)
	if err != nil {
		return nil, err
	}
	predicate := &structpb.Struct{}
	return predicate, protojson.Unmarshal(data, predicate)
}

// source is the commit. A changed work tree has no digest: the commit alone
// does not give the same files.
func source(o Options) *intoto.ResourceDescriptor {
	const repository = "git+https://gocache.dev/operator@"
	if strings.HasSuffix(o.commit.hash, dirty) {
		return &intoto.ResourceDescriptor{Name: "source", Uri: repository + o.commit.hash}
	}
	at := o.commit.hash
	if o.commit.tagged {
		at = "refs/tags/" + o.Version
	}
	return &intoto.ResourceDescriptor{Name: "source", Uri: repository + at, Digest: map[string]string{"gitCommit": o.commit.hash}}
}

func material(name, file string) (*intoto.ResourceDescriptor, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return &intoto.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}}, nil
}

// stableJSON undoes the white space that protojson adds at random.
func stableJSON(data []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// writeSums writes the sums of all files, and signs them.
func writeSums(ctx context.Context, o Options, k *key) error {
	names, err := o.names()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range names {
		sum, err := o.sum(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, name)
	}
	if err := o.write(sums, b.Bytes()); err != nil || k == nil {
		return err
	}
	signature, err := k.Sign(ctx, b.Bytes())
	if err != nil {
		return fmt.Errorf("sign %s: %w", sums, err)
	}
	public, err := k.publicPEM()
	if err != nil {
		return err
	}
	if err := o.write("release.pub", public); err != nil {
		return err
	}
	return o.write(sums+".sig", []byte(base64.StdEncoding.EncodeToString(signature)+"\n"))
}
