package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
)

// asBefore113 stands in for a server before 1.13, whose modules would have to be built beside these: Transit's requests lose
// their associated_data, which such a server does not know and ignores, with a warning in its answer at most, and the version
// that is told is an older one. All else is as 1.13.0 has it.
func asBefore113(server http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.Body != nil {
			body, err := io.ReadAll(request.Body)
			if err != nil {
				http.Error(writer, err.Error(), http.StatusBadRequest)
				return
			}
			body = withoutAssociatedData(body)
			request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		switch strings.TrimSuffix(request.URL.Path, "/") {
		case "/v1/sys/health", "/v1/sys/seal-status":
			tell(server, writer, request)
		default:
			server.ServeHTTP(writer, request)
		}
	})
}

// What is no JSON object stays as it is.
func withoutAssociatedData(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	delete(fields, "associated_data")
	if batch, is := fields["batch_input"]; is {
		var items []map[string]json.RawMessage
		if json.Unmarshal(batch, &items) == nil {
			for _, item := range items {
				delete(item, "associated_data")
			}
			fields["batch_input"], _ = json.Marshal(items)
		}
	}
	changed, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return changed
}

func tell(server http.Handler, writer http.ResponseWriter, request *http.Request) {
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, request)
	body := bytes.ReplaceAll(recorder.Body.Bytes(), []byte(`"version":"1.13.0"`), []byte(`"version":"1.12.0"`))
	for name, values := range recorder.Header() {
		writer.Header()[name] = values
	}
	writer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	writer.WriteHeader(recorder.Code)
	_, _ = writer.Write(body)
}
