// Package storage has the names of Google's client that fake-gcs-server refers to: its client is not used.
package storage

import (
	"context"
	"errors"
	"time"

	"google.golang.org/api/option"
)

type (
	ACLEntity   string
	ACLRole     string
	ProjectTeam struct{ ProjectNumber, Team string }
	ACLRule     struct {
		Entity      ACLEntity
		EntityID    string
		Role        ACLRole
		Domain      string
		Email       string
		ProjectTeam *ProjectTeam
	}
	ObjectRetention struct {
		Mode        string
		RetainUntil time.Time
	}
	Client     struct{}
	Projection int
)

const (
	ProjectionDefault Projection = iota
	ProjectionFull
	ProjectionNoACL
)

func NewClient(context.Context, ...option.ClientOption) (*Client, error) {
	return nil, errors.New("left out")
}
