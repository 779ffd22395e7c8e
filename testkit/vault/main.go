// A HashiCorp Vault 1.13.0 for the tests of envelope-vault: the server itself, from its Go modules, with in-memory storage,
// Transit and the methods to log in that are tested, and nothing else. It is built for tests, by scripts/servers.d/vault;
// nothing of Vault, which is under the MPL 2.0, is in this repository or in what it ships.
//
//	vault-test-server -dir DIR [-addr 127.0.0.1:0] [-token root] [-old] [-with-parent]
//
// It listens on loopback, and writes to DIR:
//
//	address              of plain http, such as http://127.0.0.1:41234; written last
//	tls-address          of https, such as https://127.0.0.1:41235
//	ca.pem               the authority of its certificate and of the client's
//	client.pem, client-key.pem   a certificate and its key for the method cert; its common name is "tests"
//	unseal-key           what sys/unseal takes after sys/seal
//	agent.sock           a socket where requests without a token get one, as those to a Vault Agent do
//
// # What is left out
//
// Vault links the SDKs of every cloud that could unseal it, list its neighbours or take its measurements: two thirds of the
// time to build it. go.mod replaces these modules by what is in left-out/: the names that Vault refers to, and no more.
// Nothing of them runs with storage in memory and a key to unseal it. Transit, policies, tokens, methods to log in and the
// HTTP interface are Vault's, unchanged.
//
// The method kubernetes is left out too; a test mounts jwt at its path, which takes the same request.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	credJWT "github.com/hashicorp/vault-plugin-auth-jwt"
	credAppRole "github.com/hashicorp/vault/builtin/credential/approle"
	credCert "github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	dir := flag.String("dir", "", "the folder for what tests need")
	addr := flag.String("addr", "127.0.0.1:0", "where plain http is spoken")
	token := flag.String("token", "root", "the token that may do everything")
	old := flag.Bool("old", false, "stand in for a server before 1.13: see old.go")
	withParent := flag.Bool("with-parent", false, "end when standard input does")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	check(os.MkdirAll(*dir, 0o700))
	core, unsealKey := start(*token)
	var handler http.Handler = vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core: core, ListenerConfig: &configutil.Listener{MaxRequestSize: 1 << 20},
	})
	if *old {
		handler = asBefore113(handler)
	}
	plain, err := net.Listen("tcp", *addr)
	check(err)
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	agent, err := net.Listen("unix", filepath.Join(*dir, "agent.sock"))
	check(err)
	config, err := certificates(*dir)
	check(err)
	go serve(plain, handler)
	go serve(tls.NewListener(secure, config), handler)
	go serve(agent, asAgent(handler, *token))
	write(*dir, "unseal-key", hex.EncodeToString(unsealKey))
	write(*dir, "tls-address", "https://"+secure.Addr().String())
	write(*dir, "address", "http://"+plain.Addr().String())
	if *withParent {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	select {}
}

// start makes a server, initialises and unseals it. It has this root token, and Transit at transit/.
func start(token string) (*vault.Core, []byte) {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error})
	storage, err := inmem.NewInmem(nil, logger)
	check(err)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		Logger:             logger,
		DisableMlock:       true,
		BuiltinRegistry:    builtins{},
		LogicalBackends:    map[string]logical.Factory{"transit": transit.Factory},
		CredentialBackends: methods,
	})
	check(err)
	ctx := namespace.RootContext(context.Background())
	made, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{},
	})
	check(err)
	unsealed, err := core.Unseal(made.SecretShares[0])
	check(err)
	if !unsealed {
		log.Fatal("the server is sealed still")
	}
	for path, data := range map[string]map[string]interface{}{
		"auth/token/create":  {"id": token, "policies": []string{"root"}, "no_parent": true},
		"sys/mounts/transit": {"type": "transit"},
	} {
		answer, err := core.HandleRequest(ctx, &logical.Request{
			Operation: logical.UpdateOperation, ClientToken: made.RootToken, Path: path, Data: data,
		})
		check(err)
		if answer.IsError() {
			log.Fatal(answer.Error())
		}
	}
	return core, made.SecretShares[0]
}

// asAgent gives a token to requests that bring none, as an agent does, and like one refuses those without the header by
// which it tells them from requests that a browser was made to send.
func asAgent(server http.Handler, token string) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.Header.Get(consts.RequestHeaderName) != "true" {
			http.Error(writer, `{"errors":["missing the header `+consts.RequestHeaderName+`"]}`, http.StatusPreconditionFailed)
			return
		}
		if request.Header.Get(consts.AuthHeaderName) == "" {
			request.Header.Set(consts.AuthHeaderName, token)
		}
		server.ServeHTTP(writer, request)
	})
}

var methods = map[string]logical.Factory{
	"approle": credAppRole.Factory,
	"cert":    credCert.Factory,
	"jwt":     credJWT.Factory,
}

// builtins are asked for what is mounted.
type builtins struct{}

func (builtins) Contains(name string, kind consts.PluginType) bool {
	switch kind {
	case consts.PluginTypeCredential:
		return methods[name] != nil
	case consts.PluginTypeSecrets:
		return name == "transit"
	default:
		return false
	}
}

func (builtins) Get(string, consts.PluginType) (func() (interface{}, error), bool) { return nil, false }

func (builtins) Keys(consts.PluginType) []string { return nil }

func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func serve(listener net.Listener, handler http.Handler) {
	log.Fatal((&http.Server{Handler: handler}).Serve(listener))
}

// write writes a file whole, so that who waits for it reads all of it.
func write(dir, name, content string) {
	path := filepath.Join(dir, name)
	check(os.WriteFile(path+".new", []byte(content+"\n"), 0o600))
	check(os.Rename(path+".new", path))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
