// Package gcsaccess reads buckets of Google Cloud Storage for which a grant isn't
// enough: those whose readers pay, and objects that are encrypted with a key of their
// uploader's. The dataset watcher and the sandboxes share it.
package gcsaccess

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
)

// An Access is what reading a bucket takes beside a grant.
type Access struct {
	BillingProject string // pays for requests; empty: the bucket's owner does
	Key            []byte // AES-256, of objects that their uploader encrypted; nil: there are none
}

// keyBytes is the length of an AES-256 key.
const keyBytes = 32

// ParseKey reads a key as gcloud storage takes it: 32 bytes in base64. An empty text is
// no key. The error never repeats the text.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("the encryption key must be %d bytes in base64, as `openssl rand -base64 %d` makes one", keyBytes, keyBytes)
	}
	return key, nil
}

// Bucket returns the handle of a bucket whose readers may have to pay.
func (a Access) Bucket(c *storage.Client, name string) *storage.BucketHandle {
	b := c.Bucket(name)
	if a.BillingProject != "" {
		b = b.UserProject(a.BillingProject)
	}
	return b
}

// Object returns the handle of an object. Google refuses a key for an object that isn't
// encrypted with one, so it goes along only where encrypted.
func (a Access) Object(o *storage.ObjectHandle, encrypted bool) *storage.ObjectHandle {
	if encrypted && a.Key != nil {
		return o.Key(a.Key)
	}
	return o
}

// Advice says in a sentence what a refusal of Google's means, where it can be told; else
// it is empty.
func Advice(err error) string {
	g := (*googleapi.Error)(nil)
	if !errors.As(err, &g) {
		return ""
	}
	var text strings.Builder
	text.WriteString(strings.ToLower(g.Message + " " + g.Body))
	for _, e := range g.Errors {
		text.WriteString(" " + strings.ToLower(e.Reason+" "+e.Message))
	}
	says := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text.String(), p) {
				return true
			}
		}
		return false
	}
	switch {
	case says("vpcservicecontrols", "vpc service controls", "vpc_service_controls", "security_policy_violated", "prohibited by organization's policy"):
		return "VPC Service Controls refuse the request: it comes from outside of the bucket's perimeter; let it in by an access level or an ingress rule, or run it inside"
	case says("cloud kms", "cloudkms", "cloud_kms", "kms key", "kmskey"):
		return "the key in Cloud KMS that encrypts the object can't be used: it is disabled or destroyed, or Google Cloud Storage's service agent lacks roles/cloudkms.cryptoKeyEncrypterDecrypter on it"
	case says("ip filter"):
		return "the bucket's IP filter refuses the request: add the network that it comes from to the filter"
	case says("serviceusage.services.use", "userprojectaccessdenied", "user_project_denied"):
		return "who asks may not let that project pay: grant its account roles/serviceusage.serviceUsageConsumer on the project of --billing-project"
	case says("accountdisabled", "billing account"):
		return "the project that is to pay has no billing account that is open: open one, or name another project with --billing-project"
	case says("userprojectinvalid", "invaliduserproject", "user project specified in the request is invalid", "unknown user project"):
		return "the project of --billing-project doesn't exist: name it by its id, without projects/"
	case says("requester pays", "userprojectmissing"):
		return "who asks must pay for this bucket: name a project with --billing-project"
	case says("resourcenotencryptedwithcustomerencryptionkey", "not encrypted with a customer"):
		return "the object was replaced by one that is not encrypted with its uploader's key: it is read at the next look"
	case says("encryption key is incorrect", "encryptionkeyisincorrect", "encryptionkeysha256isinvalid"):
		return "the key that the platform handed in is another one than the object's uploader used: hand in that one, or have the object uploaded again (docs/workloads.md)"
	case says("customerencryptionkey", "customer-supplied encryption key", "encrypted by a customer"):
		return "the object is encrypted with a key that its uploader keeps: upload it without one, or with a key in Cloud KMS, or let the platform hand in that key (docs/workloads.md)"
	}
	return ""
}
