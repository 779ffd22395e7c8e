module envelope-sdk/testkit/gcs

go 1.25.8

require github.com/fsouza/fake-gcs-server v1.56.0

require (
	cloud.google.com/go/pubsub/v2 v2.6.1 // indirect
	cloud.google.com/go/storage v1.64.0 // indirect
	github.com/felixge/httpsnoop v1.0.4 // indirect
	github.com/google/renameio/v2 v2.0.0 // indirect
	github.com/gorilla/handlers v1.5.2 // indirect
	github.com/gorilla/mux v1.8.1 // indirect
	github.com/pkg/xattr v0.4.12 // indirect
	golang.org/x/oauth2 v0.36.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	google.golang.org/api v0.293.0 // indirect
)

// The clients of Google's services, and gRPC, are most of what there is to build, and nothing of them is used: the names that
// fake-gcs-server refers to are in left-out/.
replace (
	cloud.google.com/go/pubsub/v2 => ./left-out/pubsub
	cloud.google.com/go/storage => ./left-out/storage
	golang.org/x/oauth2 => ./left-out/oauth2
	google.golang.org/api => ./left-out/api
)
