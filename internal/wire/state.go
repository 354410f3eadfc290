package wire

import (
	"maps"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// A Resource is one resource of a state, to be read in place. The zero Resource does not
// exist.
type Resource struct {
	decoded *fnv1.Resource
	raw     []byte // when decoded is nil; nil: there is none
}

// Decoded returns a Resource that is decoded already; nil does not exist.
func Decoded(r *fnv1.Resource) Resource { return Resource{decoded: r} }

// Exists says whether there is such a resource.
func (r Resource) Exists() bool { return r.decoded != nil || r.raw != nil }

// Value returns the value at a path of map keys of what the resource is, or nil. Only that
// value is decoded.
func (r Resource) Value(path ...string) *structpb.Value {
	if len(path) == 0 {
		return nil
	}
	if r.raw == nil {
		return walk(r.decoded.GetResource(), path)
	}
	b, ok := r.at(path)
	if !ok {
		return nil
	}
	return decoded(b)
}

// at returns the encoded value at a path of map keys.
func (r Resource) at(path []string) (v []byte, ok bool) {
	s := joined(r.raw, resourceNum)
	for i, k := range path {
		if v, ok = entry(s, fieldsNum, k); !ok || i == len(path)-1 {
			return v, ok
		}
		if s, ok = in(v, structNum); !ok {
			return nil, false
		}
	}
	return nil, false
}

// Text returns the string at a path of map keys; "" where there is none.
func (r Resource) Text(path ...string) string {
	if r.raw == nil {
		return r.Value(path...).GetStringValue()
	}
	v, _ := r.at(path)
	s, _ := in(v, stringNum)
	return string(s)
}

// Encoded returns the value at a path of map keys as it came, nil where there is none, and ok
// false where the resource came decoded. Nobody may write into it.
func (r Resource) Encoded(path ...string) (v []byte, ok bool) {
	if r.raw == nil {
		return nil, false
	}
	v, _ = r.at(path)
	return v, true
}

// Element returns the first element of the list at a path of map keys that is a map with a
// string under a key, or nil. Only that element is decoded.
func (r Resource) Element(key, text string, path ...string) *structpb.Struct {
	if r.raw == nil {
		for _, v := range r.Value(path...).GetListValue().GetValues() {
			if s := v.GetStructValue(); s != nil && s.GetFields()[key].GetStringValue() == text {
				return s
			}
		}
		return nil
	}
	e, ok := r.element(key, text, path)
	if !ok {
		return nil
	}
	return decoded(e).GetStructValue()
}

// ElementText returns the string under a key of what Element returns; "" where there is none.
// Nothing is decoded.
func (r Resource) ElementText(key, text, want string, path ...string) string {
	if r.raw == nil {
		return r.Element(key, text, path...).GetFields()[want].GetStringValue()
	}
	e, _ := r.element(key, text, path)
	fields, _ := in(e, structNum)
	v, _ := entry(fields, fieldsNum, want)
	s, _ := in(v, stringNum)
	return string(s)
}

// element returns the encoded Value that Element decodes.
func (r Resource) element(key, text string, path []string) (found []byte, ok bool) {
	v, _ := r.at(path)
	l, _ := in(v, listNum)
	each(l, func(num protowire.Number, e []byte, _, _ int) bool {
		s, is := in(e, structNum)
		if num != valuesNum || !is {
			return true
		}
		v, _ := entry(s, fieldsNum, key)
		if held, _ := in(v, stringNum); string(held) == text {
			found, ok = e, true
		}
		return !ok
	})
	return found, ok
}

// decoded returns an encoded Value.
func decoded(b []byte) *structpb.Value {
	v := &structpb.Value{}
	if err := proto.Unmarshal(b, v); err != nil {
		return nil // can't be: it has been checked
	}
	return v
}

func walk(s *structpb.Struct, path []string) *structpb.Value {
	v := s.GetFields()[path[0]]
	if len(path) == 1 {
		return v
	}
	return walk(v.GetStructValue(), path[1:])
}

// valueUnder decodes the value under a key of an encoded Struct; nil: there is none.
func valueUnder(s []byte, key string) *structpb.Value {
	b, ok := entry(s, fieldsNum, key)
	if !ok {
		return nil
	}
	return decoded(b)
}

// Unread is a key of what a resource is or, with Of, of the map under that key.
type Unread struct{ Of, Key string }

// Struct returns what the resource is, decoded, without some of its fields: of an observed
// resource, managedFields is the largest and least used part. One that came decoded keeps
// them. nil: it is nothing.
func (r Resource) Struct(unread ...Unread) *structpb.Struct {
	if r.raw == nil {
		return r.decoded.GetResource()
	}
	b := joined(r.raw, resourceNum)
	if b == nil {
		return nil
	}
	s := &structpb.Struct{}
	for i, f := range unread {
		if f.Of == "" {
			b = without(b, f.Key)
			delete(s.GetFields(), f.Key)
			continue
		}
		v, ok := entry(b, fieldsNum, f.Of)
		if !ok {
			continue // or it was read for another of its fields
		}
		held, ok := in(v, structNum)
		if !ok {
			continue
		}
		for _, g := range unread[i:] {
			if g.Of == f.Of {
				held = without(held, g.Key)
			}
		}
		m := &structpb.Struct{}
		if err := proto.Unmarshal(held, m); err != nil {
			return nil // can't be: it has been checked
		}
		if s.Fields == nil {
			s.Fields = map[string]*structpb.Value{}
		}
		s.Fields[f.Of] = structpb.NewStructValue(m)
		b = without(b, f.Of)
	}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(b, s); err != nil {
		return nil // as above
	}
	return s
}

// ConnectionDetail returns the value under a key of the resource's connection details. It is
// a secret.
func (r Resource) ConnectionDetail(key string) []byte {
	if r.raw == nil {
		return r.decoded.GetConnectionDetails()[key]
	}
	e, _ := lastEntry(r.raw, connectionNum, key)
	return last(e, valueNum)
}

// Composite returns the composite resource of a state.
func Composite(s *fnv1.State) Resource {
	if c := s.GetComposite(); c != nil {
		return Resource{decoded: c}
	}
	return Resource{raw: joined(kept(s), compositeNum)}
}

// DecodeComposite returns the composite resource of a state for somebody to write into;
// a new one where there was none.
func DecodeComposite(s *fnv1.State) (*fnv1.Resource, error) {
	if s.GetComposite() == nil {
		s.Composite = &fnv1.Resource{}
		if raw := joined(kept(s), compositeNum); raw != nil {
			if err := proto.Unmarshal(raw, s.GetComposite()); err != nil {
				return nil, err
			}
			keep(s, cut(kept(s), func(num protowire.Number, _ []byte) bool { return num == compositeNum }))
		}
	}
	return s.GetComposite(), nil
}

// Required returns the resources that were found for a requirement, and whether it was
// answered at all.
func Required(req *fnv1.RunFunctionRequest, key string) (found []Resource, answered bool) {
	if rs, ok := req.GetRequiredResources()[key]; ok {
		for _, r := range rs.GetItems() {
			found = append(found, Resource{decoded: r})
		}
		return found, true
	}
	rs, answered := entry(kept(req), requiredNum, key)
	each(rs, func(num protowire.Number, r []byte, _, _ int) bool {
		if num == itemsNum {
			found = append(found, Resource{raw: r})
		}
		return true
	})
	return found, answered
}

// Composed returns the composed resource of a name.
func Composed(s *fnv1.State, name string) Resource {
	if r, ok := s.GetResources()[name]; ok {
		return Resource{decoded: r}
	}
	raw, _ := entry(kept(s), resourcesNum, name)
	return Resource{raw: raw}
}

// All returns a state's composed resources by name, for who reads many of them.
func All(s *fnv1.State) map[string]Resource {
	all := make(map[string]Resource, 32)
	each(kept(s), func(num protowire.Number, e []byte, _, _ int) bool {
		if num == resourcesNum {
			all[string(keyOf(e))] = Resource{raw: valueOf(e)}
		}
		return true
	})
	for name, r := range s.GetResources() {
		all[name] = Resource{decoded: r}
	}
	return all
}

// AnyComposed says whether a state has composed resources.
func AnyComposed(s *fnv1.State) (found bool) {
	each(kept(s), func(num protowire.Number, _ []byte, _, _ int) bool {
		found = num == resourcesNum
		return !found
	})
	return found || len(s.GetResources()) > 0
}

// A Part is a composed resource to be: its name and its manifest, which is an encoded Struct.
type Part struct {
	Name     string
	Manifest []byte
}

// SetComposed sets composed resources, in place of what stood under their names.
func SetComposed(s *fnv1.State, parts ...Part) {
	if len(parts) == 0 {
		return
	}
	more := 0
	for _, p := range parts {
		delete(s.GetResources(), p.Name)
		_, n := p.sizes()
		more += protowire.SizeTag(resourcesNum) + protowire.SizeBytes(n)
	}
	rest := cut(kept(s), func(num protowire.Number, e []byte) bool {
		return num == resourcesNum && slices.ContainsFunc(parts, func(p Part) bool { return string(keyOf(e)) == p.Name })
	})
	b := append(make([]byte, 0, len(rest)+more), rest...)
	for _, p := range parts {
		b = p.append(b)
	}
	keep(s, b)
}

// sizes of a part, as a value and as an entry of a map.
func (p Part) sizes() (value, entry int) {
	value = protowire.SizeTag(resourceNum) + protowire.SizeBytes(len(p.Manifest))
	return value, protowire.SizeTag(keyNum) + protowire.SizeBytes(len(p.Name)) + protowire.SizeTag(valueNum) + protowire.SizeBytes(value)
}

func (p Part) append(b []byte) []byte {
	value, entry := p.sizes()
	b = protowire.AppendTag(b, resourcesNum, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(entry)) //nolint:gosec // a length
	b = protowire.AppendTag(b, keyNum, protowire.BytesType)
	b = protowire.AppendString(b, p.Name)
	b = protowire.AppendTag(b, valueNum, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(value)) //nolint:gosec // a length
	b = protowire.AppendTag(b, resourceNum, protowire.BytesType)
	return protowire.AppendBytes(b, p.Manifest)
}

// Field returns the value under a key of a Struct, and whether it is there.
func Field(s *structpb.Struct, key string) (*structpb.Value, bool) {
	if v, ok := s.GetFields()[key]; ok {
		return v, true
	}
	v := valueUnder(kept(s), key)
	return v, v != nil
}

// Encoded returns what of a Struct is still as it came: nil where all is decoded. Nobody may
// write into it.
func Encoded(s *structpb.Struct) []byte { return kept(s) }

// Whole returns a Struct, decoded.
func Whole(s *structpb.Struct) *structpb.Struct {
	b := kept(s)
	if len(b) == 0 {
		return s
	}
	out := &structpb.Struct{Fields: maps.Clone(s.GetFields())}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(b, out); err != nil {
		return s // can't be: it has been checked
	}
	return out
}

// SetField sets the value under a key of a Struct.
func SetField(s *structpb.Struct, key string, v *structpb.Value) {
	DeleteField(s, key)
	if s.GetFields() == nil {
		s.Fields = map[string]*structpb.Value{}
	}
	s.Fields[key] = v
}

// SetEncoded sets the encoded value under a key of a Struct.
func SetEncoded(s *structpb.Struct, key string, v []byte) {
	delete(s.GetFields(), key)
	size := protowire.SizeTag(keyNum) + protowire.SizeBytes(len(key)) + protowire.SizeTag(valueNum) + protowire.SizeBytes(len(v))
	rest := without(kept(s), key)
	b := append(make([]byte, 0, len(rest)+protowire.SizeTag(fieldsNum)+protowire.SizeBytes(size)), rest...)
	b = protowire.AppendTag(b, fieldsNum, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a length
	b = protowire.AppendTag(b, keyNum, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, valueNum, protowire.BytesType)
	keep(s, protowire.AppendBytes(b, v))
}

// DeleteField takes a key out of a Struct.
func DeleteField(s *structpb.Struct, key string) {
	delete(s.GetFields(), key)
	if raw := kept(s); len(raw) > 0 {
		keep(s, without(raw, key))
	}
}
