package sdk

import (
	"path/filepath"
	"testing"
)

// TestOpenstack4j runs every queue operation of Maven's com.huawei:openstack4j, signed and with a token. What is signed differs
// with what the process did before: the client has Java leave the port out of the Host header, which works only as long as
// Java's HTTP client is not loaded yet.
func TestOpenstack4j(t *testing.T) {
	jars := tool(t, "CONFORM_SDK_JARS")
	a := newAccount(t)
	for _, order := range []string{"signed-first", "signed-later"} {
		openstack4j(t, jars, a, order)
	}
	passed(t, "openstack4j 1.0.26")
}

func openstack4j(t *testing.T, jars string, a account, order string) {
	script(t, nil, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(jars, "*"), here(t, "Openstack4j.java"), a.url, project, a.user, a.password, a.access, a.secret, order)
}
