// Package awskms unseals nothing: see main.go, "What is left out".
package awskms

import (
	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
)

type Wrapper struct{ wrapping.Wrapper }

func NewWrapper() *Wrapper { return &Wrapper{} }

// WithLogger is called for every kind of seal. What is not of its own kind a seal ignores.
func WithLogger(hclog.Logger) wrapping.Option { return func() interface{} { return nil } }
