package sdk

import "testing"

// TestHuaweiCloudSDKNode drives version 2 of the queue paths with the core of the vendor's SDK for Node.
func TestHuaweiCloudSDKNode(t *testing.T) {
	modules := tool(t, "CONFORM_SDK_NODE")
	a := newAccount(t)
	script(t, []string{"NODE_PATH=" + modules}, "node", here(t, "v2.cjs"), a.url, a.access, a.secret, project)
	passed(t, "@huaweicloud/huaweicloud-sdk-core 3.1.211")
}
