package wire

import (
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Unmarshal reads a request as proto.Unmarshal does and refuses what that refuses, but
// leaves observed and desired state, input, context and required resources as they came. The request keeps parts
// of data, which nobody may change from then on.
func Unmarshal(data []byte, req *fnv1.RunFunctionRequest) error {
	proto.Reset(req)
	var observed, desired, input, left, required pieces
	merge := proto.UnmarshalOptions{Merge: true}
	decoded := 0 // up to here
	for at := 0; at < len(data); {
		num, typ, n := tag(data[at:])
		if n < 0 || typ == protowire.EndGroupType {
			return errParse
		}
		from := at
		at += n
		n = protowire.ConsumeFieldValue(num, typ, data[at:])
		if n < 0 {
			return errParse
		}
		held := data[at : at+n]
		at += n
		if typ != protowire.BytesType {
			continue
		}
		into, is := &observed, &state
		switch num {
		case observedNum:
		case desiredNum:
			into = &desired
		case inputNum:
			into, is = &input, &structure
		case contextNum:
			into, is = &left, &structure
		case requiredNum:
			into = &required
		default:
			continue
		}
		if err := merge.Unmarshal(data[decoded:from], req); err != nil {
			return err
		}
		decoded = at
		v, _ := protowire.ConsumeBytes(held)
		if num == requiredNum { // an entry of a map, which is kept with its tag
			if err := (field{mapped, &resources}).check(v, protowire.DefaultRecursionLimit-1); err != nil {
				return err
			}
			into.add(data[from:at])
			continue
		}
		if err := check(v, is, protowire.DefaultRecursionLimit-1); err != nil {
			return err
		}
		into.add(v)
	}
	if err := merge.Unmarshal(data[decoded:], req); err != nil {
		return err
	}
	if required.all != nil {
		keep(req, append(kept(req), required.bytes()...))
	}
	if observed.all != nil {
		req.Observed = &fnv1.State{}
		keep(req.GetObserved(), observed.bytes())
	}
	if desired.all != nil {
		req.Desired = &fnv1.State{}
		keep(req.GetDesired(), desired.bytes())
	}
	if input.all != nil {
		req.Input = &structpb.Struct{}
		keep(req.GetInput(), input.bytes())
	}
	if left.all != nil {
		req.Context = &structpb.Struct{}
		keep(req.GetContext(), left.bytes())
	}
	return nil
}

// Decode turns what is still encoded in a response into what protobuf's decoder makes of it,
// for callers that read it in this process.
func Decode(rsp *fnv1.RunFunctionResponse) error {
	for _, m := range []proto.Message{rsp.GetDesired(), rsp.GetContext()} {
		b := kept(m)
		if len(b) == 0 {
			continue
		}
		keep(m, nil)
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(b, m); err != nil {
			return err
		}
	}
	return nil
}

// kept returns what is encoded in a message, and keep sets it.
func kept(m proto.Message) []byte { return m.ProtoReflect().GetUnknown() }

func keep(m proto.Message, b []byte) { m.ProtoReflect().SetUnknown(b) }
