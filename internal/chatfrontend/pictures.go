package chatfrontend

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"whisperops.io/functions/internal/chatfrontend/transcript"
)

const (
	// maxAlbum bounds the pictures of one conversation.
	maxAlbum = 60
	// fetchTimeout bounds the fetching of one.
	fetchTimeout = 30 * time.Second
)

// pictureTypes are the kinds of pictures that are shown, as http.DetectContentType
// names them. SVG is a program, and not among them.
var pictureTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

// An album holds a conversation's pictures. They stay when the link that they came
// by has expired.
type album struct {
	mu  sync.Mutex
	all map[string]*picture
}

type picture struct {
	ready chan struct{} // closed when data or failed is set
	kind  string
	data  []byte
}

func newAlbum() *album { return &album{all: map[string]*picture{}} }

func (a *album) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, p := range a.all {
		select {
		case <-p.ready:
			n += len(p.data)
		default:
		}
	}
	return n
}

func (a *album) get(id string) *picture {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[id]
}

// reserve returns a new picture to fill, or the one that is there, or nil when the
// album is full.
func (a *album) reserve(id string) (p *picture, isNew bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.all[id]; p != nil {
		return p, false
	}
	if len(a.all) >= maxAlbum {
		return nil, false
	}
	p = &picture{ready: make(chan struct{})}
	a.all[id] = p
	return p, true
}

// keep puts in a picture that is at hand. What is none becomes one that failed.
func (a *album) keep(id string, data []byte) bool {
	p, isNew := a.reserve(id)
	if isNew {
		p.fill(data)
	}
	return p != nil
}

func (p *picture) fill(data []byte) {
	if kind := http.DetectContentType(data); slices.Contains(pictureTypes, kind) && len(data) <= transcript.MaxPicture {
		p.kind, p.data = kind, data
	}
	close(p.ready)
}

// A fetcher gets the charts that an answer links to: from the agent's own bucket, or
// from its sandbox. The page never loads anything from elsewhere, so nothing that was
// written into an answer can carry data out.
type fetcher struct {
	bucket  string   // OUTPUT_BUCKET; empty: links into buckets are no charts
	storage *url.URL // where an emulator of the storage is; nil: Google Cloud Storage
	sandbox *url.URL // nil: no charts from there
	http    *http.Client
	log     *slog.Logger
}

var dataURI = regexp.MustCompile(`^data:image/(?:png|jpeg|gif|webp);base64,([A-Za-z0-9+/=\s]+)$`)

// resolve says where on this server the picture at an address is, and has it fetched.
func (f *fetcher) resolve(c *conversation, address string) (string, bool) {
	if m := dataURI.FindStringSubmatch(address); m != nil {
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(m[1]), ""))
		if err != nil || len(data) > transcript.MaxPicture {
			return "", false
		}
		id := pictureID(address)
		return c.picturePath(id), c.pictures.keep(id, data)
	}
	from, key := f.source(address)
	if from == "" {
		return "", false
	}
	id := pictureID(key)
	p, isNew := c.pictures.reserve(id)
	if p == nil {
		return "", false
	}
	if isNew {
		go f.fetch(p, from)
	}
	return c.picturePath(id), true
}

func pictureID(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:12])
}

// source is the address from which a chart is fetched, and what stays of it when
// its signature changes; empty for what is none of the agent's charts.
func (f *fetcher) source(address string) (from, key string) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.User != nil || u.Opaque != "" || !isPicture(u.Path) {
		return "", ""
	}
	clean := path.Clean("/" + u.Path)
	if clean != "/"+strings.TrimPrefix(u.Path, "/") {
		return "", ""
	}
	host := u.Hostname()
	switch {
	case u.Scheme == "gs" && f.bucket != "" && host == f.bucket:
		return f.object(strings.TrimPrefix(clean, "/"), ""), "gs:" + clean
	case u.Scheme == "https" && f.bucket != "" && (host == "storage.googleapis.com" || host == "storage.cloud.google.com"):
		if key, ok := strings.CutPrefix(clean, "/"+f.bucket+"/"); ok {
			return f.object(key, u.RawQuery), "gs:/" + key
		}
	case u.Scheme == "https" && f.bucket != "" && host == f.bucket+".storage.googleapis.com":
		return f.object(strings.TrimPrefix(clean, "/"), u.RawQuery), "gs:" + clean
	case f.storage != nil && f.bucket != "" && u.Host == f.storage.Host:
		for _, prefix := range []string{"/" + f.bucket + "/", "/download/storage/v1/b/" + f.bucket + "/o/"} {
			if key, ok := strings.CutPrefix(clean, prefix); ok {
				return f.object(key, u.RawQuery), "gs:/" + key
			}
		}
	case f.sandbox != nil && (u.Scheme == "" && u.Host == "" || (u.Scheme == "http" || u.Scheme == "sandbox") && f.isSandbox(u)):
		if strings.HasPrefix(clean, "/charts/") {
			return f.sandbox.JoinPath(clean).String(), "sandbox:" + clean
		}
	}
	return "", ""
}

// isSandbox accepts every name that the agent's sandbox has inside the cluster.
func (f *fetcher) isSandbox(u *url.URL) bool {
	name, _, _ := strings.Cut(f.sandbox.Hostname(), ".")
	return u.Host == f.sandbox.Host || u.Hostname() == f.sandbox.Hostname() ||
		(name != "" && (u.Hostname() == name || strings.HasPrefix(f.sandbox.Hostname(), u.Hostname()+".")))
}

func isPicture(p string) bool {
	switch strings.ToLower(path.Ext(p)) {
	case ".png", ".jpg", ".jpeg", ".gif", ".webp":
		return true
	}
	return false
}

// object is the address of an object of the agent's bucket.
func (f *fetcher) object(key, query string) string {
	base := url.URL{Scheme: "https", Host: "storage.googleapis.com"}
	if f.storage != nil {
		base = *f.storage
	}
	u := base.JoinPath(f.bucket, key)
	u.RawQuery = query
	return u.String()
}

func (f *fetcher) fetch(p *picture, from string) {
	data, err := f.get(from)
	if err != nil {
		u, _ := url.Parse(from)
		u.RawQuery = "" // a signature is a secret
		f.log.Info("Cannot fetch chart", "from", u.String(), "error", err)
	}
	p.fill(data)
}

func (f *fetcher) get(from string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, err
	}
	rsp, err := f.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address, with its signature, is not for the log
		}
		return nil, err
	}
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	if rsp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the storage answered %s", rsp.Status)
	}
	return io.ReadAll(io.LimitReader(rsp.Body, transcript.MaxPicture+1))
}
