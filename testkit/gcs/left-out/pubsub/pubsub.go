// Package pubsub has the names that fake-gcs-server refers to: nothing is published.
package pubsub

import (
	"context"
	"errors"
)

type (
	Client        struct{}
	Publisher     struct{}
	PublishResult struct{}
	Message       struct {
		Data       []byte
		Attributes map[string]string
	}
)

func NewClient(context.Context, string) (*Client, error)            { return nil, errors.New("left out") }
func (*Client) Publisher(string) *Publisher                         { return nil }
func (*Client) Close() error                                        { return nil }
func (*Publisher) Publish(context.Context, *Message) *PublishResult { return nil }
func (*Publisher) Stop()                                            {}
func (*PublishResult) Get(context.Context) (serverID string, err error) {
	return "", errors.New("left out")
}
