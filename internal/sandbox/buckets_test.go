//go:build linux

package sandbox

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A key that is replaced under a running sandbox is used from then on: the old one, which
// Google no longer takes, signs nothing.
func TestKeyIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	put := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(serviceAccount(t, "old"))
	b, err := newBuckets(t.Context(), slog.New(slog.DiscardHandler), file)
	if err != nil {
		t.Fatal(err)
	}
	first := b.now()
	for _, tc := range []struct {
		reason  string
		content []byte
		want    string
		same    bool
	}{
		{"The key of the start.", nil, "old", true},
		{"Crossplane replaces the Secret, and the kubelet the file.", serviceAccount(t, "new"), "new", false},
		{"While a Secret is away, what was read goes on.", []byte{}, "new", false},
		{"Half a file is no key.", []byte("{"), "new", false},
		{"And again.", serviceAccount(t, "newest"), "newest", false},
	} {
		if tc.content != nil {
			put(tc.content)
		}
		c := b.now()
		if (c == first) != tc.same {
			t.Errorf("%s want the client of the start: %t", tc.reason, tc.same)
		}
		if c != b.now() {
			t.Errorf("%s want one client as long as the file is the same", tc.reason)
		}
		link, err := (&gallery{buckets: b, bucket: "charts", expiry: time.Hour}).link("a.png")
		if err != nil {
			t.Fatal(tc.reason, err)
		}
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		if signer, _, _ := strings.Cut(u.Query().Get("X-Goog-Credential"), "@"); signer != tc.want {
			t.Errorf("%s want a link signed by %s, got %s", tc.reason, tc.want, link)
		}
	}
}

// serviceAccount is a key file as Google hands it out; its id is also its account's name.
func serviceAccount(t *testing.T, id string) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "acme-data", "private_key_id": id, "client_email": id + "@acme-data.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
