// Package google has the one name that the options of the client need.
package google

type Credentials struct{}
