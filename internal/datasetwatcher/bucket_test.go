package datasetwatcher

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/api/googleapi"
)

// What Google refuses for a reason that a person can do something about says so.
func TestAdvice(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string // part of the advice; "" for none
	}{
		"VPC":          {&googleapi.Error{Code: 403, Message: "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc"}, "VPC Service Controls refuse"},
		"VPCBody":      {&googleapi.Error{Code: 403, Body: `{"error":{"details":[{"violations":[{"type":"VPC_SERVICE_CONTROLS"}]}],"message":"Request is prohibited by organization's policy."}}`}, "VPC Service Controls refuse"},
		"KMS":          {&googleapi.Error{Code: 403, Message: "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to use this key."}, "roles/cloudkms.cryptoKeyEncrypterDecrypter"},
		"KMSDisabled":  {&googleapi.Error{Code: 400, Message: "Cloud KMS key is disabled, destroyed, or scheduled to be destroyed."}, "disabled or destroyed"},
		"Requester":    {&googleapi.Error{Code: 400, Message: "Bucket is a requester pays bucket but no user project provided."}, "--billing-project"},
		"RequesterTwo": {&googleapi.Error{Code: 400, Errors: []googleapi.ErrorItem{{Reason: "userProjectMissing"}}}, "--billing-project"},
		"CustomerKey":  {&googleapi.Error{Code: 400, Errors: []googleapi.ErrorItem{{Reason: "resourceIsEncryptedWithCustomerEncryptionKey"}}, Message: "The target object is encrypted by a customer-supplied encryption key."}, "upload it without one"},
		"Forbidden":    {&googleapi.Error{Code: 403, Message: "watcher@p.iam.gserviceaccount.com does not have storage.objects.list access"}, ""},
		"Other":        {errors.New("connection refused"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := advice(tc.err)
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("advice(%v) = %q, want %q", tc.err, got, tc.want)
			}
			if tc.want != "" && problem(tc.err) != got {
				t.Errorf("a dataset's condition says %q, not the advice", problem(tc.err))
			}
		})
	}
}

func TestOtherForges(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com": "GitHub", "https://acme.ghe.com/x": "GitHub", "https://gitlab.com": "GitLab", "https://GitLab.com:443": "GitLab", "https://bitbucket.org": "Bitbucket",
		"https://gitea.example.org": "", "https://github.com.example.org": "", "https://git.acme.io/github.com": "", "": "",
	} {
		if got := otherForge(address); got != want {
			t.Errorf("%q is taken for %q, want %q", address, got, want)
		}
	}
}
