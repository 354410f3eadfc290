package controlplane

import (
	"net"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "x", "B": "$(A)"}
	for in, want := range map[string]string{
		"plain": "plain", "$(A)/y": "x/y", "$$(A)": "$(A)", "$(NO)": "$(NO)", "a$": "a$", "$(B)": "$(A)", "100$ or $(A": "100$ or $(A",
	} {
		if got := expand(in, env); got != want {
			t.Errorf("expand(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestRepository(t *testing.T) {
	for in, want := range map[string]string{
		"ghcr.io/a/b:v1": "ghcr.io/a/b", "localhost:5000/b": "localhost:5000/b", "localhost:5000/b:v1": "localhost:5000/b", "a/b@sha256:00": "a/b", "a/b:v1@sha256:00": "a/b",
	} {
		if got := repository(in); got != want {
			t.Errorf("repository(%q) is %q, want %q", in, got, want)
		}
	}
}

// TestHere: what a container calls a path is another one here, and only that.
func TestHere(t *testing.T) {
	t.Setenv(isolatedEnv, "1") // names can be resolved
	n := &Node{s: &Stack{APIServer: &APIServer{Dir: "/tmp/state"}}}
	at := map[string]string{"/tmp": "/pod/tmp", "/var/run/gcp": "/pod/gcp"}
	for in, want := range map[string]string{
		"/tmp": "/pod/tmp", "/tmp/x": "/pod/tmp/x", "/tmpfile": "/tmpfile", "/tmp/state/pods/x": "/tmp/state/pods/x", "/var/run/gcp/credentials.json": "/pod/gcp/credentials.json", "http://sandbox.a.svc:8080/tmp": "http://sandbox.a.svc:8080/tmp",
	} {
		if got := n.here(in, at); got != want {
			t.Errorf("here(%q) is %q, want %q", in, got, want)
		}
	}
}

// TestCaller: the process that holds the other end of a connection is found.
func TestCaller(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // a test's
	inode := socketOf(in.RemoteAddr().String(), in.LocalAddr().String())
	if inode == "" || !holds(os.Getpid(), inode) {
		t.Errorf("socket %q is ours and was not found", inode)
	}
	if holds(os.Getppid(), inode) {
		t.Error("the parent does not hold it")
	}
}

func TestItems(t *testing.T) {
	data := map[string][]byte{"private_key": []byte("k"), "more": nil}
	got, err := items(data, []corev1.KeyToPath{{Key: "private_key", Path: "credentials.json"}})
	if err != nil || len(got) != 1 || string(got["credentials.json"]) != "k" {
		t.Errorf("want one file, got %v, %v", got, err)
	}
	if _, err := items(data, []corev1.KeyToPath{{Key: "absent", Path: "x"}}); err == nil {
		t.Error("a key that is not there must be waited for")
	}
}
