// Package discover finds no other servers: see main.go, "What is left out".
package discover

import (
	"errors"
	"log"
)

type Provider interface{}

type Discover struct{}

type Option func(*Discover) error

var Providers map[string]Provider

func New(...Option) (*Discover, error) { return &Discover{}, nil }

func WithProviders(map[string]Provider) Option { return nil }

func (*Discover) Addrs(string, *log.Logger) ([]string, error) {
	return nil, errors.New("left out of this server")
}
