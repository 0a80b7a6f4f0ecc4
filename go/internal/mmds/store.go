package mmds

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

var (
	errNotFound    = errors.New("not found")
	errUnsupported = errors.New("Cannot retrieve value. The value has an unsupported type.")
)

// find answers the value at a JSON pointer (RFC 6901), with the bytes that the host wrote. One slash at the end is ignored.
func find(data json.RawMessage, path string) (json.RawMessage, error) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return data, nil
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for _, token := range strings.Split(path, "/")[1:] {
		next, ok := member(data, unescape.Replace(token))
		if !ok {
			return nil, errNotFound
		}
		data = next
	}
	return data, nil
}

func member(data json.RawMessage, token string) (json.RawMessage, bool) {
	switch kind(data) {
	case '{':
		value, ok := object(data)[token]
		return value, ok
	case '[':
		var elements []json.RawMessage
		index, err := strconv.ParseUint(token, 10, 31)
		// No other spelling of a number is an index.
		if err != nil || strconv.FormatUint(index, 10) != token || json.Unmarshal(data, &elements) != nil {
			return nil, false
		}
		if index >= uint64(len(elements)) {
			return nil, false
		}
		return elements[index], true
	}
	return nil, false
}

// formatIMDS writes a value as EC2's IMDS does: a string as it is, an object as a list of its keys.
func formatIMDS(value json.RawMessage) (string, error) {
	switch kind(value) {
	case '"':
		var text string
		err := json.Unmarshal(value, &text)
		return text, err
	case '{':
		members := object(value)
		keys := slices.Sorted(maps.Keys(members))
		for i, key := range keys {
			if kind(members[key]) == '{' {
				keys[i] += "/"
			}
		}
		return strings.Join(keys, "\n"), nil
	}
	return "", errUnsupported
}

// kind answers the first byte of a value, which says of which type it is.
func kind(value json.RawMessage) byte {
	if trimmed := bytes.TrimLeft(value, " \t\r\n"); len(trimmed) > 0 {
		return trimmed[0]
	}
	return 0
}

func object(value json.RawMessage) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	// The whole document has been read as JSON before.
	json.Unmarshal(value, &members)
	return members
}
