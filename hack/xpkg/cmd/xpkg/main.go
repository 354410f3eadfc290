// Command xpkg builds the product's packages and pushes them:
//
//	xpkg build -root . -out _output/xpkg -version v0.1.0 -images dataset-watcher
//	xpkg push -from _output/xpkg -version v0.1.0 -registry registry.example.org/whisperops
//	xpkg pin -from _output/xpkg -manifests package/install -out _output/install -others
//
// build writes name-version-linux-arch.xpkg for each function and architecture,
// name-version.xpkg for the Configuration, name-version-linux-arch.tar for each
// image that is no package, the sandbox's among them where -sandbox names a root file
// system, an SBOM (SPDX) beside each program, and "digests", the names a registry will
// give them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/hack/xpkg"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "xpkg:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to do: build, push or pin")
	}
	fs := flag.NewFlagSet("xpkg "+args[0], flag.ContinueOnError)
	version := fs.String("version", "", "version of the packages, for example v0.1.0")
	switch args[0] {
	case "build":
		b := builder{}
		fs.StringVar(&b.root, "root", ".", "root of the checkout")
		fs.StringVar(&b.out, "out", "_output/xpkg", "folder to write to")
		arch := fs.String("arch", "amd64,arm64", "architectures of the functions")
		images := fs.String("images", "", "programs of cmd/ to build as plain images, separated by commas")
		fs.StringVar(&b.rootfs, "sandbox", "", "root file system of the sandbox's image, as make sandbox-rootfs writes it, for this machine's architecture; empty: no such image")
		only := fs.String("only", "", "one package to build; default all")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		b.version, b.archs, b.only = *version, strings.Split(*arch, ","), *only
		if *images != "" {
			b.images = strings.Split(*images, ",")
		}
		return b.build(ctx)
	case "push":
		from := fs.String("from", "_output/xpkg", "folder that build wrote")
		registry := fs.String("registry", "", "registry and repository, for example registry.example.org/whisperops")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		if *registry == "" {
			return errors.New("say where to push to: -registry registry.example.org/whisperops")
		}
		return push(ctx, *from, *version, *registry)
	case "pin":
		from := fs.String("from", "_output/xpkg", "folder that build wrote")
		manifests := fs.String("manifests", "package/install", "install manifests")
		out := fs.String("out", "_output/install", "folder to write them to, with digests")
		others := fs.Bool("others", false, "ask the registries of what was not built here, too")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		return pin(ctx, *from, *manifests, *out, *others)
	}
	return fmt.Errorf("unknown verb %q; known: build, push, pin", args[0])
}

type builder struct {
	root, out, version, only string
	rootfs                   string
	below                    []xpkg.DebianPackage // the programs' packages, if they have any
	archs, images            []string
}

func (b *builder) build(ctx context.Context) error {
	if !strings.HasPrefix(b.version, "v") {
		return fmt.Errorf("cannot build packages of version %q: want a semantic version with a v, for example v0.1.0", b.version)
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	created, err := b.commitTime(ctx)
	if err != nil {
		return err
	}
	mains, err := filepath.Glob(filepath.Join(b.root, "cmd", "function-*"))
	if err != nil {
		return err
	}
	if len(mains) == 0 {
		return fmt.Errorf("found no cmd/function-* below %s: is it the root of the checkout?", b.root)
	}
	var digests []string
	for _, m := range mains {
		name := filepath.Base(m)
		if b.only != "" && b.only != name {
			continue
		}
		d, err := b.function(ctx, name, created)
		if err != nil {
			return fmt.Errorf("cannot build package %s: %w", name, err)
		}
		digests = append(digests, d+"  "+name+":"+b.version)
	}
	for _, name := range b.images {
		if b.only != "" && b.only != name {
			continue
		}
		d, err := b.image(ctx, name, created)
		if err != nil {
			return fmt.Errorf("cannot build image %s: %w", name, err)
		}
		digests = append(digests, d+"  "+name+":"+b.version)
	}
	if b.rootfs != "" && (b.only == "" || b.only == "sandbox") {
		d, err := b.sandbox(ctx, created)
		if err != nil {
			return fmt.Errorf("cannot build image sandbox: %w", err)
		}
		digests = append(digests, d+"  sandbox:"+b.version)
	}
	if b.only == "" || b.only == "configuration" {
		name, d, err := b.configuration(ctx)
		if err != nil {
			return fmt.Errorf("cannot build the Configuration's package: %w", err)
		}
		digests = append(digests, d+"  "+name+":"+b.version)
	}
	if len(digests) == 0 {
		return fmt.Errorf("there is no package %q: want a folder of cmd/ or configuration", b.only)
	}
	slices.Sort(digests)
	fmt.Println(strings.Join(digests, "\n"))
	if b.only != "" {
		return nil
	}
	return os.WriteFile(filepath.Join(b.out, "digests"), []byte(strings.Join(digests, "\n")+"\n"), 0o644)
}

// function builds a function for each architecture and returns its digest.
func (b *builder) function(ctx context.Context, name string, created time.Time) (string, error) {
	dir := filepath.Join(b.root, "package", "functions", strings.TrimPrefix(name, "function-"))
	meta, stream, err := xpkg.Stream(dir)
	if err != nil {
		return "", err
	}
	if meta.Kind != "Function" || meta.Metadata.Name != name {
		return "", fmt.Errorf("%s/crossplane.yaml says %s %s, want Function %s", dir, meta.Kind, meta.Metadata.Name, name)
	}
	return b.programs(ctx, name, xpkg.PackageExt, created, func(program []byte, arch string) (v1.Image, error) {
		return xpkg.Function(meta, stream, program, arch)
	})
}

// image builds an image that is no package, and returns its digest. It says of
// itself what the Configuration does.
func (b *builder) image(ctx context.Context, name string, created time.Time) (string, error) {
	meta, _, err := xpkg.Stream(filepath.Join(b.root, "package", "configuration"))
	if err != nil {
		return "", err
	}
	meta.Metadata.Name = name
	return b.programs(ctx, name, xpkg.ImageExt, created, func(program []byte, arch string) (v1.Image, error) {
		return xpkg.Program(meta, program, arch)
	})
}

// sandbox builds the image of cmd/sandbox, which has Python below it.
func (b *builder) sandbox(ctx context.Context, created time.Time) (string, error) {
	meta, _, err := xpkg.Stream(filepath.Join(b.root, "package", "configuration"))
	if err != nil {
		return "", err
	}
	meta.Metadata.Name = "sandbox"
	layer, below, err := xpkg.Rootfs(b.rootfs)
	if err != nil {
		return "", err
	}
	one := *b
	one.archs, one.below = []string{runtime.GOARCH}, below
	return one.programs(ctx, "sandbox", xpkg.ImageExt, created, func(program []byte, arch string) (v1.Image, error) {
		return xpkg.OnRootfs(meta, layer, program, arch)
	})
}

// programs compiles a program for each architecture, writes its images and SBOMs,
// and returns the digest of them all.
func (b *builder) programs(ctx context.Context, name, ext string, created time.Time, pack func(program []byte, arch string) (v1.Image, error)) (string, error) {
	var images []v1.Image
	for _, arch := range b.archs {
		program, err := b.compile(ctx, name, arch)
		if err != nil {
			return "", err
		}
		img, err := pack(program, arch)
		if err != nil {
			return "", err
		}
		if img, err = b.licensed(ctx, img, program); err != nil {
			return "", err
		}
		base := filepath.Join(b.out, fmt.Sprintf("%s-%s-linux-%s", name, b.version, arch))
		if err := write(base+ext, img); err != nil {
			return "", err
		}
		sbom, err := xpkg.SBOM(name, b.version, program, created, b.below...)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(base+".spdx.json", sbom, 0o644); err != nil {
			return "", err
		}
		images = append(images, img)
	}
	return digest(images)
}

// licensed adds the licences of what is in a package: ours, and with a program those of its
// modules.
func (b *builder) licensed(ctx context.Context, img v1.Image, program []byte) (v1.Image, error) {
	own, err := xpkg.Own(b.root)
	if err != nil {
		return nil, err
	}
	texts := []xpkg.Licence{own}
	if program != nil {
		cmd := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOROOT")
		cmd.Dir = b.root
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("cannot find the modules' licences: %w", err)
		}
		modcache, goroot, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		theirs, err := xpkg.Licences(program, modcache, goroot)
		if err != nil {
			return nil, err
		}
		texts = append(texts, theirs...)
	}
	return xpkg.WithLicences(img, texts...)
}

func (b *builder) compile(ctx context.Context, name, arch string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "xpkg-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // the system clears its temporary folder
	bin := filepath.Join(tmp, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w -buildid=", "-o", bin, "./cmd/"+name)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOWORK=off", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cannot compile for %s: %w", arch, err)
	}
	return os.ReadFile(bin)
}

// configuration builds the package of the XRDs and Compositions.
func (b *builder) configuration(ctx context.Context) (name, digestOf string, err error) {
	p := func(f string) string { return filepath.Join(b.root, "package", f) }
	meta, stream, err := xpkg.Stream(p("configuration"), p("xrds"), p("compositions"))
	if err != nil {
		return "", "", err
	}
	if err := onlyKinds(stream, "Configuration", "CompositeResourceDefinition", "Composition"); err != nil {
		return "", "", err
	}
	img, err := xpkg.Plain(meta, stream)
	if err != nil {
		return "", "", err
	}
	if img, err = b.licensed(ctx, img, nil); err != nil {
		return "", "", err
	}
	name = meta.Metadata.Name
	if err := write(filepath.Join(b.out, name+"-"+b.version+xpkg.PackageExt), img); err != nil {
		return "", "", err
	}
	d, err := digest([]v1.Image{img})
	return name, d, err
}

// onlyKinds refuses what Crossplane would refuse when it unpacks the package.
func onlyKinds(stream []byte, kinds ...string) error {
	for doc := range strings.SplitSeq(string(stream), "\n---\n") {
		var o struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			return err
		}
		if o.Kind != "" && !slices.Contains(kinds, o.Kind) {
			return fmt.Errorf("it holds a %s, but only these are allowed: %s", o.Kind, strings.Join(kinds, ", "))
		}
	}
	return nil
}

func write(path string, img v1.Image) error {
	if err := tarball.WriteToFile(path+".tmp", nil, img); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func digest(images []v1.Image) (string, error) {
	p, err := xpkg.Join(images...)
	if err != nil {
		return "", err
	}
	h, err := p.Digest()
	return h.String(), err
}

// commitTime dates the SBOMs: SOURCE_DATE_EPOCH, else the time of the commit,
// else, outside a repository, 1970.
func (b *builder) commitTime(ctx context.Context) (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		cmd := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct")
		cmd.Dir = b.root
		out, err := cmd.Output()
		if err != nil {
			return time.Unix(0, 0), nil //nolint:nilerr // an unpacked archive has no commit
		}
		s = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(n, 0), nil
}

// pin writes install manifests with digests.
func pin(ctx context.Context, from, manifests, out string, others bool) error {
	built, err := xpkg.Digests(filepath.Join(from, "digests"))
	if err != nil {
		return err
	}
	var ask xpkg.Resolver
	if others {
		ask = xpkg.Remote(ctx)
	}
	without, err := xpkg.PinAll(manifests, out, built, ask)
	if err != nil {
		return err
	}
	fmt.Println("wrote " + out)
	for _, ref := range without {
		fmt.Println("without a digest: " + ref)
	}
	return nil
}

// push pushes every package of a folder, each under its name.
func push(ctx context.Context, from, version, registry string) error {
	pkgs, err := xpkg.Load(from, version)
	if err != nil {
		return err
	}
	for _, name := range pkgs.Names() {
		ref := strings.TrimSuffix(registry, "/") + "/" + name + ":" + version
		if err := pkgs[name].Push(ctx, ref); err != nil {
			return err
		}
		d, err := pkgs[name].Digest()
		if err != nil {
			return err
		}
		fmt.Println(ref + "@" + d.String())
	}
	return nil
}
