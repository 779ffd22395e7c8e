// Package admin knows no people of Google's: see main.go, "What is left out".
package admin

import (
	"context"
	"errors"
)

const (
	AdminDirectoryGroupReadonlyScope = ""
	AdminDirectoryUserReadonlyScope  = ""
)

type Service struct {
	Groups groups
	Users  users
}

type (
	groups struct{}
	users  struct{}
	call   struct{}
	get    struct{}
)

type Group struct{ Email string }

type Groups struct{ Groups []*Group }

type User struct{ CustomSchemas map[string][]byte }

func NewService(context.Context, ...interface{}) (*Service, error) { return nil, errLeftOut }

func (groups) List() call                                     { return call{} }
func (c call) UserKey(string) call                            { return c }
func (c call) Domain(string) call                             { return c }
func (c call) Fields(...string) call                          { return c }
func (call) Pages(context.Context, func(*Groups) error) error { return errLeftOut }
func (users) Get(string) get                                  { return get{} }
func (g get) Context(context.Context) get                     { return g }
func (g get) Projection(string) get                           { return g }
func (g get) CustomFieldMask(string) get                      { return g }
func (g get) Fields(...string) get                            { return g }
func (get) Do() (*User, error)                                { return nil, errLeftOut }

var errLeftOut = errors.New("left out of this server")
