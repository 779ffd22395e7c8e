// Package option has the names of options of the client that is left out.
package option

import (
	"net/http"

	"golang.org/x/oauth2/google"
)

type ClientOption interface{}

func WithHTTPClient(*http.Client) ClientOption         { return nil }
func WithCredentials(*google.Credentials) ClientOption { return nil }
