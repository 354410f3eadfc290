package manifest

import (
	"fmt"
	"strings"
)

const bucketResource = "projects/_/buckets/"

// BucketExpression is an IAM condition that opens a bucket and what is in it.
// Listing is checked against the bucket's own name; a bare prefix would also match
// every bucket whose name begins the same way.
func BucketExpression(bucket string) string {
	b := bucketResource + bucket
	return fmt.Sprintf("resource.name == %q || resource.name.startsWith(%q)", b, b+"/")
}

// BucketOpenedBy returns the bucket that an expression opens, or "" when it names
// none.
func BucketOpenedBy(expression string) string {
	_, rest, ok := strings.Cut(expression, bucketResource)
	end := strings.IndexAny(rest, `/"`)
	if !ok || end < 0 {
		return ""
	}
	return rest[:end]
}
