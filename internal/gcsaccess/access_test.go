package gcsaccess

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

func TestParseKey(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	for name, tc := range map[string]struct {
		text string
		want []byte
		bad  bool
	}{
		"None":     {"", nil, false},
		"Blank":    {" \n", nil, false},
		"Key":      {base64.StdEncoding.EncodeToString(key), key, false},
		"FromFile": {base64.StdEncoding.EncodeToString(key) + "\n", key, false},
		"Short":    {base64.StdEncoding.EncodeToString(key[:31]), nil, true},
		"NoBase64": {"not a key at all, s3cret", nil, true},
		"Hex":      {strings.Repeat("07", 32), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKey(tc.text)
			if !bytes.Equal(got, tc.want) || (err != nil) != tc.bad {
				t.Errorf("ParseKey(%q) = %v, %v", tc.text, got, err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error repeats the key: %v", err)
			}
		})
	}
}

// What goes along with a read: the project that pays always, the key only for an object
// that is encrypted with one.
func TestAccess(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	for name, tc := range map[string]struct {
		access    Access
		encrypted bool
		project   string
		key       string
	}{
		"Nothing":   {Access{}, false, "", ""},
		"Pays":      {Access{BillingProject: "acme"}, false, "acme", ""},
		"Encrypted": {Access{Key: key}, true, "", base64.StdEncoding.EncodeToString(key)},
		"Plain":     {Access{Key: key}, false, "", ""},
		"KeyLess":   {Access{}, true, "", ""},
		"Both":      {Access{"acme", key}, true, "acme", base64.StdEncoding.EncodeToString(key)},
	} {
		t.Run(name, func(t *testing.T) {
			var project, sent string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				project, sent = r.URL.Query().Get("userProject"), r.Header.Get("X-Goog-Encryption-Key")
				http.NotFound(w, r)
			}))
			t.Cleanup(srv.Close)
			c, err := storage.NewClient(context.Background(), option.WithoutAuthentication(), option.WithEndpoint(srv.URL+"/storage/v1/"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = tc.access.Object(tc.access.Bucket(c, "data").Object("a.csv"), tc.encrypted).Attrs(t.Context())
			if !errors.Is(err, storage.ErrObjectNotExist) {
				t.Fatal(err)
			}
			if project != tc.project || sent != tc.key {
				t.Errorf("userProject %q and key %q went along, want %q and %q", project, sent, tc.project, tc.key)
			}
		})
	}
}

// What Google refuses for a reason that a person can do something about says so.
func TestAdvice(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string // part of the advice; "" for none
	}{
		"VPC":          {&googleapi.Error{Code: 403, Message: "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc"}, "VPC Service Controls refuse"},
		"VPCBody":      {&googleapi.Error{Code: 403, Body: `{"error":{"details":[{"violations":[{"type":"VPC_SERVICE_CONTROLS"}]}],"message":"Request is prohibited by organization's policy."}}`}, "VPC Service Controls refuse"},
		"KMS":          {&googleapi.Error{Code: 403, Message: "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to use this key."}, "roles/cloudkms.cryptoKeyEncrypterDecrypter"},
		"VPCWords":     {&googleapi.Error{Code: 403, Message: "Request violates VPC Service Controls."}, "VPC Service Controls refuse"},
		"VPCReason":    {&googleapi.Error{Code: 403, Errors: []googleapi.ErrorItem{{Reason: "SECURITY_POLICY_VIOLATED"}}}, "VPC Service Controls refuse"},
		"KMSPermit":    {&googleapi.Error{Code: 403, Message: "Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on resource 'projects/p/locations/europe/keyRings/r/cryptoKeys/k' (or it may not exist)."}, "roles/cloudkms.cryptoKeyEncrypterDecrypter"},
		"KMSReason":    {&googleapi.Error{Code: 403, Errors: []googleapi.ErrorItem{{Reason: "cloudKmsKeyDisabled"}}}, "disabled or destroyed"},
		"KMSDisabled":  {&googleapi.Error{Code: 400, Message: "Cloud KMS key is disabled, destroyed, or scheduled to be destroyed."}, "disabled or destroyed"},
		"Requester":    {&googleapi.Error{Code: 400, Message: "Bucket is a requester pays bucket but no user project provided."}, "--billing-project"},
		"RequesterTwo": {&googleapi.Error{Code: 400, Errors: []googleapi.ErrorItem{{Reason: "userProjectMissing"}}}, "--billing-project"},
		"CustomerKey":  {&googleapi.Error{Code: 400, Errors: []googleapi.ErrorItem{{Reason: "resourceIsEncryptedWithCustomerEncryptionKey"}}, Message: "The target object is encrypted by a customer-supplied encryption key."}, "let the platform hand in that key"},
		"MayNotPay":    {&googleapi.Error{Code: 403, Message: "watcher@p.iam.gserviceaccount.com does not have serviceusage.services.use access to the Google Cloud project. Permission 'serviceusage.services.use' denied on resource (or it may not exist)."}, "roles/serviceusage.serviceUsageConsumer"},
		"NoBilling":    {&googleapi.Error{Code: 403, Message: "The billing account for the owning project is disabled in state absent", Errors: []googleapi.ErrorItem{{Reason: "accountDisabled"}}}, "no billing account that is open"},
		"NoProject":    {&googleapi.Error{Code: 400, Message: "User project specified in the request is invalid."}, "name it by its id"},
		"OtherKey":     {&googleapi.Error{Code: 400, Message: "The provided encryption key is incorrect.", Errors: []googleapi.ErrorItem{{Reason: "customerEncryptionKeyIsIncorrect"}}}, "another one than the object's uploader used"},
		"KeyTooMuch":   {&googleapi.Error{Code: 400, Errors: []googleapi.ErrorItem{{Reason: "resourceNotEncryptedWithCustomerEncryptionKey"}}}, "not encrypted with its uploader's key"},
		"IPFilter":     {&googleapi.Error{Code: 403, Message: "There is an IP filtering condition that is preventing access to the resource."}, "IP filter"},
		"Forbidden":    {&googleapi.Error{Code: 403, Message: "watcher@p.iam.gserviceaccount.com does not have storage.objects.list access"}, ""},
		"Other":        {errors.New("connection refused"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Advice(tc.err)
			if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("Advice(%v) = %q, want %q", tc.err, got, tc.want)
			}
		})
	}
}
