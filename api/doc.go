// Package api is the wire: the JSON documents of Mintmark's HTTP API, its
// problem documents, and a thin client with one method for each route.
//
// It imports the standard library alone, so that any program may use it. The
// documents are no records of the server: they change only as the published
// API does.
//
// The one hard idea: a [Secret] travels in JSON bodies and nowhere else; every
// other way of turning it into text gives "[secret]".
package api
