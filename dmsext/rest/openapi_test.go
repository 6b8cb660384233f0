package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// description is openapi.json as the tests walk it.
type description struct {
	t    testing.TB
	root map[string]any
}

func readDescription(t testing.TB) *description {
	d := &description{t: t}
	require.NoError(t, json.Unmarshal(openapi, &d.root))
	return d
}

// at follows names from v, and references wherever they stand.
func (d *description) at(v any, names ...string) any {
	d.t.Helper()
	for {
		m, ok := v.(map[string]any)
		if ref, is := m["$ref"].(string); ok && is {
			v = d.at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			continue
		}
		if len(names) == 0 {
			return v
		}
		require.Contains(d.t, m, names[0])
		v, names = m[names[0]], names[1:]
	}
}

type operation struct {
	path, method string
	body         map[string]any
}

// operations are those of the document by their ID.
func (d *description) operations() map[string]operation {
	found := map[string]operation{}
	for path, item := range d.at(d.root, "paths").(map[string]any) {
		for method, body := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			body, _ := body.(map[string]any)
			id, _ := body["operationId"].(string)
			require.NotEmpty(d.t, id)
			require.NotContains(d.t, found, id)
			found[id] = operation{path, strings.ToUpper(method), body}
		}
	}
	return found
}

// check tells how a value is not as its schema says; members that the schema does not name are wrong too.
func (d *description) check(schema, value any, at string) error {
	s, _ := d.at(schema).(map[string]any)
	if err := d.checkMembers(s, value, at); err != nil {
		return err
	}
	return d.fits(s, value, at)
}

// fits is check as validators do it: members that the schema does not name are nobody's concern, but where it forbids them.
func (d *description) fits(schema, value any, at string) error {
	s, _ := d.at(schema).(map[string]any)
	if err := d.checkType(s, value); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if err := d.checkCases(s, value, at); err != nil {
		return err
	}
	switch v := value.(type) {
	case string:
		if p, given := s["pattern"].(string); given && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Errorf("%s: %q does not match %s", at, v, p)
		}
		return checkBounds(s, "minLength", "maxLength", float64(utf8.RuneCountInString(v)), at)
	case float64:
		return checkBounds(s, "minimum", "maximum", v, at)
	case []any:
		for i, element := range v {
			if err := d.fits(s["items"], element, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
			if s["uniqueItems"] == true && slices.Contains(v[:i], element) {
				return fmt.Errorf("%s: %v is in it twice", at, element)
			}
		}
		return checkBounds(s, "minItems", "maxItems", float64(len(v)), at)
	case map[string]any:
		return d.checkObject(s, v, at)
	}
	return nil
}

func checkBounds(s map[string]any, least, most string, n float64, at string) error {
	for name, wrong := range map[string]func(bound float64) bool{
		least: func(b float64) bool { return n < b }, most: func(b float64) bool { return n > b },
		"exclusiveMinimum": func(b float64) bool { return n <= b }, "exclusiveMaximum": func(b float64) bool { return n >= b },
	} {
		if bound, given := s[name].(float64); given && wrong(bound) {
			return fmt.Errorf("%s: %v is beyond %s %v", at, n, name, bound)
		}
	}
	return nil
}

// checkCases goes into the schemas that a schema is put together of.
func (d *description) checkCases(s map[string]any, value any, at string) error {
	all, _ := s["allOf"].([]any)
	for _, one := range all {
		if err := d.fits(one, value, at); err != nil {
			return err
		}
	}
	if any_, given := s["anyOf"].([]any); given && !slices.ContainsFunc(any_, func(one any) bool { return d.fits(one, value, at) == nil }) {
		return fmt.Errorf("%s: %v fits none of %v", at, value, any_)
	}
	if condition, given := s["if"]; given {
		branch := "then"
		if d.fits(condition, value, at) != nil {
			branch = "else"
		}
		if s[branch] != nil {
			return d.fits(s[branch], value, at)
		}
	}
	return nil
}

func (d *description) checkType(s map[string]any, value any) error {
	if one, given := s["enum"].([]any); given && !slices.Contains(one, value) {
		return fmt.Errorf("%v is none of %v", value, one)
	}
	if one, given := s["const"]; given && one != value {
		return fmt.Errorf("%v is not %v", value, one)
	}
	var types []any
	switch t := s["type"].(type) {
	case nil:
		return nil // any value
	case string:
		types = []any{t}
	case []any:
		types = t
	}
	is := "null"
	switch v := value.(type) {
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case float64:
		if is = "number"; v == math.Trunc(v) && !slices.Contains(types, any("number")) {
			is = "integer"
		}
	case []any:
		is = "array"
	case map[string]any:
		is = "object"
	}
	if !slices.Contains(types, any(is)) {
		return fmt.Errorf("it is %s, not %v", is, types)
	}
	return nil
}

func (d *description) checkObject(s, v map[string]any, at string) error {
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, there := v[name.(string)]; !there {
			return fmt.Errorf("%s: %s is missing", at, name)
		}
	}
	for name, member := range v {
		schema, known := properties[name]
		if !known {
			schema = s["additionalProperties"]
		}
		if schema == false {
			return fmt.Errorf("%s: %s may not be there", at, name)
		}
		if schema == nil {
			continue
		}
		if err := d.fits(schema, member, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// checkMembers finds what a value has that its schema does not name, at any depth.
func (d *description) checkMembers(schema, value any, at string) error {
	if schema == nil {
		return nil
	}
	s, _ := d.at(schema).(map[string]any)
	switch v := value.(type) {
	case []any:
		for i, element := range v {
			if err := d.checkMembers(s["items"], element, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for name, member := range v {
			schema, known := properties[name]
			if !known && properties != nil && s["additionalProperties"] == nil {
				return fmt.Errorf("%s: %s is not described", at, name)
			}
			if err := d.checkMembers(schema, member, at+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestDescriptionAndRoutesAgree(t *testing.T) {
	d := readDescription(t)
	described := d.operations()
	for _, c := range calls {
		o, there := described[c.name]
		require.True(t, there, "%s is not described", c.name)
		require.Equal(t, "/{dialect}/{project_id}"+c.path, o.path)
		require.Equal(t, c.method, o.method, c.name)
		delete(described, c.name)
	}
	for id, o := range described {
		require.Contains(t, []string{"/", "/{dialect}", "/openapi.json"}, o.path, id)
	}
	w := newWorld(t, nil)
	for id, o := range d.operations() {
		for _, dialect := range dialects {
			path := strings.NewReplacer("{dialect}", dialect, "{project_id}", project, "{queue_id}", queueID, "{group_id}", groupID, "{key}", "k").Replace(o.path)
			a := w.do(http.MethodOptions, path, "")
			require.Equal(t, 204, a.status, id)
			require.Contains(t, a.header.Get("Allow"), o.method)
			a = w.do("PATCH", path, "")
			require.Equal(t, 405, a.status)
			require.Equal(t, codeMethod, a.code(t))
			require.Contains(t, a.header.Get("Allow"), o.method)
		}
	}
}

func TestDescriptionResolves(t *testing.T) {
	d := readDescription(t)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, is := v["$ref"].(string); is {
				require.NotNil(t, d.at(v), ref)
			}
			for _, member := range v {
				walk(member)
			}
		case []any:
			for _, element := range v {
				walk(element)
			}
		}
	}
	walk(d.root)
	codes := d.codes()
	for id, o := range d.operations() {
		for _, code := range o.body["x-error-codes"].([]any) {
			require.Contains(t, codes, int(code.(float64)), id)
		}
	}
}

// codes are the described error codes with their statuses.
func (d *description) codes() map[int]int {
	codes := map[int]int{}
	for _, c := range d.at(d.root, "components", "schemas", "Error", "x-error-codes").([]any) {
		c, _ := c.(map[string]any)
		codes[int(c["code"].(float64))] = int(c["status"].(float64))
	}
	return codes
}

func TestExamplesOfTheDescriptionFitItsSchemas(t *testing.T) {
	d := readDescription(t)
	for id, o := range d.operations() {
		contents := []any{o.body["requestBody"]}
		for _, r := range o.body["responses"].(map[string]any) {
			contents = append(contents, d.at(r))
		}
		for _, c := range contents {
			c, _ := c.(map[string]any)
			if c["content"] == nil {
				continue
			}
			media, _ := d.at(c, "content", "application/json").(map[string]any)
			if example, given := media["example"]; given {
				require.NoError(t, d.check(media["schema"], example, id))
			}
		}
	}
}

func TestAnswersAreAsDescribed(t *testing.T) {
	d := readDescription(t)
	operations := d.operations()
	w := newWorld(t, nil)
	w.receive = func(_ context.Context, r queue.Receive) ([]queue.Received, error) {
		return []queue.Received{{Message: queue.Message{Body: []byte(`"x"`), Labels: []string{"eu"},
			Attributes: []queue.Attribute{{Name: "n", Value: []byte("1.5")}, {Name: "z", Value: []byte("null")}}}, Handle: "h"}}, nil
	}
	w.leases = []queue.Lease{{Partition: 1, First: 2, Last: 3, State: "leased", Holder: "h", Until: time.UnixMilli(4)}, {State: "waiting"}}
	covered := map[string]bool{}
	for _, e := range exchanges {
		for _, dialect := range dialects {
			o, there := operations[e.operation]
			require.True(t, there, e.operation)
			covered[e.operation] = true
			path := strings.NewReplacer("{dialect}", dialect, "{project_id}", project, "{queue_id}", queueID, "{group_id}", groupID, "{key}", "k").Replace(o.path)
			w.results = e.results
			a := w.do(o.method, path+e.query, e.body)
			require.Equal(t, e.status, a.status, "%s: %s", e.operation, a.body)
			response, _ := d.at(o.body, "responses", itoa(e.status)).(map[string]any)
			require.NotNil(t, response)
			if response["content"] == nil {
				require.Empty(t, a.body)
				continue
			}
			require.Equal(t, "application/json", a.header.Get("Content-Type"))
			var v any
			require.NoError(t, json.Unmarshal([]byte(a.body), &v))
			require.NoError(t, d.check(d.at(response, "content", "application/json", "schema"), v, e.operation))
		}
	}
	for id := range operations {
		require.True(t, covered[id], "no exchange of %s", id)
	}
}

// exchanges are requests whose answers are compared with the description.
var exchanges = []struct {
	operation, query, body string
	status                 int
	results                []queue.Sent
}{
	{operation: "listVersions", status: 300},
	{operation: "showVersion", status: 200},
	{operation: "showOpenAPI", status: 200},
	{operation: "listQueues", status: 200},
	{operation: "listQueues", query: "?include_deadletter=True&include_messages_num=", status: 200},
	{operation: "listQueues", query: "?include_deadletter=maybe", status: 400},
	{operation: "createQueue", body: `{"name":"a"}`, status: 201},
	{operation: "createQueue", body: `{"name":"a","queue_mode":"KAFKA_HA"}`, status: 201},
	{operation: "createQueue", body: `{"name":`, status: 400},
	{operation: "showQueue", status: 200},
	{operation: "showQueue", query: "?include_deadletter=true", status: 200},
	{operation: "deleteQueue", status: 204},
	{operation: "listGroups", status: 200},
	{operation: "listGroups", query: "?include_deadletter=true&include_messages_num=false&page_size=1&current_page=2", status: 200},
	{operation: "createGroups", body: `{"groups":[{"name":"a"},{"name":"b"}]}`, status: 201},
	{operation: "deleteGroup", status: 204},
	{operation: "sendMessages", body: `{"messages":[{"body":1}]}`, status: 201},
	{operation: "sendMessages", body: `{"messages":[{"body":1},{"body":2}],"returnId":true}`, status: 201,
		results: []queue.Sent{{ID: "x"}, {Err: &queue.Error{Code: 10250002, Message: "disk"}}}},
	{operation: "sendMessages", body: `{}`, status: 400},
	{operation: "consumeMessages", status: 200},
	{operation: "consumeMessages", query: "?max_msgs=0", status: 400},
	{operation: "consumeDeadLetters", status: 200},
	{operation: "acknowledgeMessages", body: `{"message":[{"handler":"h"}]}`, status: 200},
	{operation: "acknowledgeDeadLetters", body: `{"message":[{"handler":"h","status":"fail"}]}`, status: 200},
	{operation: "showQuotas", status: 200},
	{operation: "showQuotasV2", status: 200},
	{operation: "putTag", body: `{"tag":{"key":"k","value":"v"}}`, status: 204},
	{operation: "changeTags", body: `{"action":"create","tags":[{"key":"k"}]}`, status: 204},
	{operation: "changeTags", body: `{"action":"x"}`, status: 400},
	{operation: "deleteTag", status: 204},
	{operation: "listTags", status: 200},
	{operation: "listProjectTags", status: 200},
	{operation: "searchQueues", body: `{"action":"filter"}`, status: 200},
	{operation: "searchQueues", body: `{"action":"count"}`, status: 200},
	{operation: "purgeQueue", status: 204},
	{operation: "listLeases", query: "?limit=2&deadletters=true", status: 200},
	{operation: "settleLease", body: `{"partition":0,"offset":17,"action":"release"}`, status: 204},
	{operation: "settleLease", body: `{"partition":0}`, status: 400},
}
