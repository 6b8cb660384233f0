// Package sdk holds SDKs and command-line clients of the DMS service, unchanged but for endpoint and keys, against a real
// broker's HTTP listener: its log-in, its signatures, and every operation on queues that the SDK has.
//
// The tests of SDKs in Go run always. The others need an environment that test/conform/run sdk makes, and are skipped
// without it:
//
//	CONFORM_SDK_PYTHON    interpreter that has requirements.txt
//	CONFORM_SDK_PYTHON_2  interpreter that has requirements-2.txt: what can not be installed beside the first
//	CONFORM_SDK_NODE      node_modules with package.json's
//	CONFORM_SDK_JARS      directory of the jars of pom.xml
package sdk
