package datasetwatcher

import (
	"errors"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
)

// A dataset's condition says the advice.
func TestProblem(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"Requester": {&googleapi.Error{Code: 400, Message: "Bucket is a requester pays bucket but no user project provided."}, "--billing-project"},
		"Forbidden": {&googleapi.Error{Code: 403, Message: "watcher does not have storage.objects.get access"}, "roles/storage.objectViewer"},
		"Gone":      {storage.ErrObjectNotExist, "replaced or deleted"},
		"Other":     {errors.New("connection refused"), "did not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := problem(tc.err); !strings.Contains(got, tc.want) {
				t.Errorf("problem(%v) = %q, want %q", tc.err, got, tc.want)
			}
		})
	}
}

func TestOtherForges(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com": "GitHub", "https://acme.ghe.com/x": "GitHub", "https://gitlab.com": "GitLab", "https://GitLab.com:443": "GitLab", "https://bitbucket.org": "Bitbucket",
		"https://github.com.": "GitHub", "ssh://git@github.com/acme/catalog.git": "GitHub", "https://www.GitHub.com/acme": "GitHub", "https://raw.githubusercontent.com": "GitHub", "https://dev.azure.com/acme": "Azure DevOps",
		"https://git-codecommit.eu-central-1.amazonaws.com": "AWS CodeCommit", "https://notgithub.com": "", "https://gitea-1.eu-central-1.elb.amazonaws.com": "", "https://gitlab.example.org": "",
		"https://gitea.example.org": "", "https://github.com.example.org": "", "https://git.acme.io/github.com": "", "": "",
	} {
		if got := otherForge(address); got != want {
			t.Errorf("%q is taken for %q, want %q", address, got, want)
		}
	}
}
