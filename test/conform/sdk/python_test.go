package sdk

import "testing"

// TestHuaweiCloudSDKDms runs every operation of PyPI's huaweicloudsdkdms, signed with an access key.
func TestHuaweiCloudSDKDms(t *testing.T) {
	py := tool(t, "CONFORM_SDK_PYTHON")
	a := newAccount(t)
	script(t, nil, py, here(t, "dms.py"), a.url, a.access, a.secret, project)
	passed(t, "huaweicloudsdkdms 3.1.42 on huaweicloudsdkcore 3.1.42")
}

// TestHuaweiCloudSDKDmsOnANewerCore is the same with the core that signs and sends today.
func TestHuaweiCloudSDKDmsOnANewerCore(t *testing.T) {
	py := tool(t, "CONFORM_SDK_PYTHON_2")
	a := newAccount(t)
	script(t, nil, py, here(t, "dms.py"), a.url, a.access, a.secret, project)
	passed(t, "huaweicloudsdkdms 3.1.42 on huaweicloudsdkcore 3.1.219")
}

// TestOTCExtensions logs in with a password, finds the service in the catalog and runs every operation on queues.
func TestOTCExtensions(t *testing.T) {
	py := tool(t, "CONFORM_SDK_PYTHON")
	a := newAccount(t)
	script(t, nil, py, here(t, "otc.py"), a.url, a.user, a.password, "acme")
	passed(t, "otcextensions 0.34.8 on openstacksdk 4.22.0")
}

// TestOTCExtensionsOwnTests runs the functional tests that otcextensions brings for queues.
func TestOTCExtensionsOwnTests(t *testing.T) {
	py := tool(t, "CONFORM_SDK_PYTHON")
	a := newAccount(t)
	script(t, nil, py, here(t, "otc_functional.py"), a.url, a.user, a.password, "acme")
	passed(t, "otcextensions' own functional tests of queues")
}

// TestOpenStackCommands runs the commands `openstack dms`.
func TestOpenStackCommands(t *testing.T) {
	py := tool(t, "CONFORM_SDK_PYTHON")
	a := newAccount(t)
	script(t, nil, py, here(t, "otc_cli.py"), a.url, a.user, a.password, "acme")
	passed(t, "python-openstackclient 10.5.0 with otcextensions' commands")
}

// TestHuaweiCloudSDKPython runs every queue operation of PyPI's huaweicloud-sdk-python, signed with the key's scope.
func TestHuaweiCloudSDKPython(t *testing.T) {
	py := tool(t, "CONFORM_SDK_PYTHON_2")
	a := newAccount(t)
	script(t, nil, py, here(t, "huaweicloud.py"), a.url, a.access, a.secret, project)
	passed(t, "huaweicloud-sdk-python 1.0.28")
}
