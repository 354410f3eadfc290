// Package wire reads a request without decoding what nobody looks at, and hands that on
// as it came.
//
// In protobuf a map is a repeated field, and a message's bytes are its fields in any order.
// What earlier steps left is thus a run of bytes that needs no decoding to be passed on:
// Unmarshal checks it as thoroughly as protobuf's own decoder would, and leaves it in the
// unknown fields of its message, which protobuf writes back byte for byte. What a station
// reads is found there by its key, and what it sets takes its place: no key ever stands
// twice because of us, and of those that came twice the later one is read, as everywhere in
// protobuf.
//
// What is kept like that: the observed state, the desired state, the step's input, the context
// and, in the request itself, the required resources. All functions of this package take decoded ones, too.
package wire
