package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Catalog is Backstage's software catalog.
type Catalog struct {
	// URL of Backstage's backend, https://<host>.
	URL string
	// Token returns a static token that the backend accepts (backend.auth.externalAccess).
	Token func() (string, error)
	// Kind and Namespace of the agents' entities: component, default.
	Kind, Namespace string
}

// Remove unregisters the location that an agent's entity came from, and removes
// entities that lose their location by that. None there counts as removed.
func (c Catalog) Remove(ctx context.Context, agentName string) error {
	ref := url.PathEscape(c.Kind) + "/" + url.PathEscape(c.Namespace) + "/" + url.PathEscape("agent-"+agentName)
	location := struct {
		ID string `json:"id"`
	}{}
	found, err := c.do(ctx, http.MethodGet, "/api/catalog/locations/by-entity/"+ref, &location)
	if err != nil {
		return err
	}
	if found {
		if _, err := c.do(ctx, http.MethodDelete, "/api/catalog/locations/"+url.PathEscape(location.ID), nil); err != nil {
			return err
		}
	}
	entity := struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}{}
	if found, err = c.do(ctx, http.MethodGet, "/api/catalog/entities/by-name/"+ref, &entity); err != nil || !found {
		return err
	}
	_, err = c.do(ctx, http.MethodDelete, "/api/catalog/entities/by-uid/"+url.PathEscape(entity.Metadata.UID), nil)
	return err
}

// do sends a request; false is an answer of 404.
func (c Catalog) do(ctx context.Context, method, path string, into any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, http.NoBody)
	if err != nil {
		return false, err
	}
	token, err := c.Token()
	if err != nil {
		return false, fmt.Errorf("cannot read Backstage's token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return false, err
	}
	defer rsp.Body.Close() //nolint:errcheck // nothing is written
	data, err := io.ReadAll(io.LimitReader(rsp.Body, 1<<20))
	switch {
	case err != nil:
		return false, fmt.Errorf("cannot read Backstage's answer: %w", err)
	case rsp.StatusCode == http.StatusNotFound:
		return false, nil
	case rsp.StatusCode < 200 || rsp.StatusCode > 299:
		return false, fmt.Errorf("%s %s: Backstage answered %s", method, path, rsp.Status)
	case into == nil:
		return true, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("%s %s: cannot decode Backstage's answer: %w", method, path, err)
	}
	return true, nil
}
