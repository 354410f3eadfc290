// Package mind is what the fake provider has for a model: a script that knows
// how to do the two jobs of an agent. With a tool that is another agent it is a
// planner: it hands a question on and passes the answer back. With a tool that runs
// Python it is a worker: it asks for the columns, writes pandas code for a question
// about them, repairs the code once if it fails, and explains what the code printed.
//
// It understands about twenty kinds of question in plain English, over any table: its
// first code tells it the columns, and which words of the question are cells. A plan
// takes account of every word, or the worker says which one it can't tell. It has no
// figure of its own, so that an answer which holds the right one proves that the whole
// way to the data works.
package mind
