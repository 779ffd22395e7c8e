// Package option says nothing to Google: see main.go, "What is left out".
package option

func WithUserAgent(string) interface{} { return nil }

func WithHTTPClient(interface{}) interface{} { return nil }
