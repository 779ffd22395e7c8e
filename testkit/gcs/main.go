// Google Cloud Storage for tests: fake-gcs-server, which speaks the JSON API, behind the XML API that object_store writes by.
// What is stored, its generations and their preconditions are fake-gcs-server's; here requests and answers are translated.
// It is built for tests, by scripts/servers.d/gcs; nothing of it is in what this repository ships.
//
//	gcs-test-server -address FILE
//
// It listens on loopback, on a free port, and writes http://127.0.0.1:PORT to FILE when it answers. Any token is right.
//
// As the documentation of the XML API has it: an upload in parts takes no precondition (here: 400, so that nobody relies on
// one), a copy takes one for the target and one for the source, `If-Match` is for reading.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	file := flag.String("address", "", "the file that gets the address")
	flag.Parse()
	if *file == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true})
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	// Whole at once under its name.
	check(os.WriteFile(*file+".new", []byte("http://"+listener.Addr().String()), 0o600))
	check(os.Rename(*file+".new", *file))
	log.Fatal(http.Serve(listener, &front{server: server, uploads: map[string]*upload{}}))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type front struct {
	server  *fakestorage.Server
	mutex   sync.Mutex
	uploads map[string]*upload
}

// An upload in parts that is under way.
type upload struct {
	headers http.Header
	parts   map[int][]byte
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	escapedBucket, escapedObject, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	bucket, err := url.PathUnescape(escapedBucket)
	object, err2 := url.PathUnescape(escapedObject)
	if err != nil || err2 != nil || bucket == "" {
		refuse(w, http.StatusBadRequest, "InvalidURI")
		return
	}
	query := r.URL.Query()
	switch id := query.Get("uploadId"); {
	case object == "" && r.Method == http.MethodPut:
		f.server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	case object == "" && r.Method == http.MethodGet:
		f.list(w, bucket, query)
	case object == "":
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		f.read(w, r, bucket, object)
	case r.Method == http.MethodPost && query.Has("uploads"):
		f.begin(w, r, bucket, object)
	case r.Method == http.MethodPut && id != "":
		f.part(w, r, id)
	case r.Method == http.MethodPost && id != "":
		f.complete(w, r, bucket, object, id)
	case r.Method == http.MethodDelete && id != "":
		f.mutex.Lock()
		delete(f.uploads, id)
		f.mutex.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && r.Header.Get("x-goog-copy-source") != "":
		f.copy(w, r, bucket, object)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f.write(w, bucket, object, r.Header, body)
	case r.Method == http.MethodDelete:
		answer := f.ask(http.MethodDelete, "/storage/v1/b/"+url.PathEscape(bucket)+"/o/"+url.PathEscape(object), nil, nil)
		if answer.Code != http.StatusOK {
			refuse(w, answer.Code, "NoSuchKey")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

// ask has fake-gcs-server answer a request of the JSON API.
func (f *front) ask(method, target string, headers http.Header, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, bytes.NewReader(body))
	for name, values := range headers {
		request.Header[name] = values
	}
	answer := httptest.NewRecorder()
	f.server.HTTPHandler().ServeHTTP(answer, request)
	return answer
}

func (f *front) read(w http.ResponseWriter, r *http.Request, bucket, object string) {
	target := "/download/storage/v1/b/" + url.PathEscape(bucket) + "/o/" + url.PathEscape(object) + "?alt=media"
	if generation := r.URL.Query().Get("generation"); generation != "" {
		target += "&generation=" + url.QueryEscape(generation)
	}
	headers := http.Header{}
	if wanted := r.Header.Get("Range"); wanted != "" {
		headers.Set("Range", wanted)
	}
	answer := f.ask(r.Method, target, headers, nil)
	if answer.Code >= 400 {
		refuse(w, answer.Code, "NoSuchKey")
		return
	}
	if wanted := r.Header.Get("If-Match"); wanted != "" && wanted != answer.Header().Get("ETag") {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// write stores an object if the precondition in headers holds, and says its generation.
func (f *front) write(w http.ResponseWriter, bucket, object string, headers http.Header, body []byte) bool {
	query := url.Values{"uploadType": {"media"}, "name": {object}}
	if condition := headers.Get("x-goog-if-generation-match"); condition != "" {
		query.Set("ifGenerationMatch", condition)
	}
	if encoding := headers.Get("Content-Encoding"); encoding != "" {
		query.Set("contentEncoding", encoding)
	}
	answer := f.ask(http.MethodPost, "/upload/storage/v1/b/"+url.PathEscape(bucket)+"/o?"+query.Encode(), kept(headers), body)
	if answer.Code != http.StatusOK {
		refuse(w, answer.Code, http.StatusText(answer.Code))
		return false
	}
	var written struct{ Generation, Etag string }
	if err := json.Unmarshal(answer.Body.Bytes(), &written); err != nil {
		refuse(w, http.StatusInternalServerError, "InternalError")
		return false
	}
	w.Header().Set("x-goog-generation", written.Generation)
	w.Header().Set("ETag", strconv.Quote(written.Etag))
	return true
}

// kept has those headers that are stored with an object.
func kept(headers http.Header) http.Header {
	stored := http.Header{}
	for name, values := range headers {
		switch {
		case strings.HasPrefix(name, "X-Goog-Meta-"),
			name == "Content-Type", name == "Cache-Control", name == "Content-Disposition", name == "Content-Language":
			stored[name] = values
		}
	}
	return stored
}

func (f *front) copy(w http.ResponseWriter, r *http.Request, bucket, object string) {
	source, err := url.PathUnescape(r.Header.Get("x-goog-copy-source"))
	fromBucket, fromObject, found := strings.Cut(strings.TrimPrefix(source, "/"), "/")
	if err != nil || !found {
		refuse(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	from, err := f.server.GetObject(fromBucket, fromObject)
	if err != nil {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	wanted := r.Header.Get("x-goog-copy-source-if-generation-match")
	if wanted != "" && wanted != strconv.FormatInt(from.Generation, 10) {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	headers := http.Header{}
	for name, value := range map[string]string{
		"Content-Type": from.ContentType, "Cache-Control": from.CacheControl, "Content-Encoding": from.ContentEncoding,
		"Content-Disposition": from.ContentDisposition, "Content-Language": from.ContentLanguage,
		"x-goog-if-generation-match": r.Header.Get("x-goog-if-generation-match"),
	} {
		if value != "" {
			headers.Set(name, value)
		}
	}
	for name, value := range from.Metadata {
		headers.Set("x-goog-meta-"+name, value)
	}
	if f.write(w, bucket, object, headers, from.Content) {
		say(w, struct {
			XMLName xml.Name `xml:"CopyObjectResult"`
			ETag    string
		}{ETag: w.Header().Get("ETag")})
	}
}

func (f *front) begin(w http.ResponseWriter, r *http.Request, bucket, object string) {
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	id := hex.EncodeToString(random)
	f.mutex.Lock()
	f.uploads[id] = &upload{headers: r.Header.Clone(), parts: map[int][]byte{}}
	f.mutex.Unlock()
	say(w, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string
	}{Bucket: bucket, Key: object, UploadId: id})
}

func (f *front) part(w http.ResponseWriter, r *http.Request, id string) {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	body, err2 := io.ReadAll(r.Body)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	upload := f.uploads[id]
	if err != nil || err2 != nil || upload == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	upload.parts[number] = body
	w.Header().Set("ETag", fmt.Sprintf("\"part-%d\"", number))
}

func (f *front) complete(w http.ResponseWriter, r *http.Request, bucket, object, id string) {
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if r.Header.Get("x-goog-if-generation-match") != "" || r.Header.Get("If-Match") != "" {
		refuse(w, http.StatusBadRequest, "PreconditionNotSupported")
		return
	}
	if err := xml.NewDecoder(r.Body).Decode(&wanted); err != nil {
		refuse(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	f.mutex.Lock()
	upload := f.uploads[id]
	delete(f.uploads, id)
	f.mutex.Unlock()
	if upload == nil {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	var body []byte
	for index, part := range wanted.Part {
		bytes, known := upload.parts[part.PartNumber]
		if !known || index < len(wanted.Part)-1 && len(bytes) < 5<<20 {
			refuse(w, http.StatusBadRequest, "InvalidPart")
			return
		}
		body = append(body, bytes...)
	}
	if f.write(w, bucket, object, upload.headers, body) {
		say(w, struct {
			XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
			Bucket, Key, ETag string
		}{Bucket: bucket, Key: object, ETag: w.Header().Get("ETag")})
	}
}

func (f *front) list(w http.ResponseWriter, bucket string, query url.Values) {
	options := fakestorage.ListOptions{Prefix: query.Get("prefix"), Delimiter: query.Get("delimiter"), MaxResults: 1000}
	if most, err := strconv.Atoi(query.Get("max-keys")); err == nil && most < options.MaxResults {
		options.MaxResults = most
	}
	if after := query.Get("start-after"); after != "" {
		// The first name behind it.
		options.StartOffset = after + "\x00"
	}
	options.PageToken = query.Get("continuation-token")
	found, err := f.server.ListObjectsWithOptionsPaginated(bucket, options)
	if err != nil {
		refuse(w, http.StatusNotFound, "NoSuchBucket")
		return
	}
	type contents struct {
		Key, LastModified, ETag string
		Size                    int64
	}
	type prefix struct{ Prefix string }
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []contents
		CommonPrefixes        []prefix
		NextContinuationToken string `xml:",omitempty"`
	}{NextContinuationToken: found.NextPageToken}
	for _, object := range found.Objects {
		result.Contents = append(result.Contents, contents{
			object.Name, object.Updated.UTC().Format(time.RFC3339Nano), strconv.Quote(object.Etag), object.Size,
		})
	}
	for _, name := range found.Prefixes {
		result.CommonPrefixes = append(result.CommonPrefixes, prefix{name})
	}
	say(w, result)
}

func say(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	_ = xml.NewEncoder(w).Encode(answer)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}{Code: code})
}
