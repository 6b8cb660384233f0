// Every operation of version 2 of the queue paths through the core of the vendor's SDK for Node, which signs and sends, against the
// broker whose HTTP address, access key, secret key and project are given as arguments.
'use strict';
const assert = require('node:assert/strict');
const { ClientBuilder } = require('@huaweicloud/huaweicloud-sdk-core/ClientBuilder');
const { BasicCredentials } = require('@huaweicloud/huaweicloud-sdk-core/auth/BasicCredentials');
const log4js = require('log4js');

// The core logs every refusal in full.
log4js.configure({ appenders: { out: { type: 'stdout' } }, categories: { default: { appenders: ['out'], level: 'off' } } });

const [endpoint, accessKey, secretKey, project] = process.argv.slice(2);

function connect(secret) {
  const credential = new BasicCredentials().withAk(accessKey).withSk(secret).withProjectId(project);
  return new ClientBuilder((client) => client).withEndpoint(endpoint).withCredential(credential).build();
}

const client = connect(secretKey);

// call answers the body; path holds {queue_id} and {group_id}.
async function call(status, method, path, { ids = {}, query = {}, data, on = client } = {}) {
  const answer = await on.sendRequest({
    method, url: '/v2/{project_id}' + path, contentType: 'application/json', queryParams: query,
    pathParams: { project_id: project, ...ids }, headers: {}, data,
  });
  assert.equal(answer.httpStatusCode, status, `${method} ${path}`);
  delete answer.httpStatusCode;
  return answer;
}

async function refused(status, code, method, path, options) {
  await assert.rejects(call(0, method, path, options), (e) => {
    assert.equal(e.httpStatusCode, status, `${method} ${path}: ${e.errorCode} ${e.errorMsg}`);
    if (code) assert.equal(e.errorCode, `DMS.${code}`, `${method} ${path}`);
    assert.ok(e.requestId, 'a refusal without a request id');
    return true;
  });
}

const oneQueue = '/queues/{queue_id}';
const oneGroup = oneQueue + '/groups/{group_id}';
const acks = (status, ...messages) => ({ message: messages.map((m) => ({ handler: m.handler, status })) });

async function queues() {
  assert.deepEqual(await call(200, 'GET', '/quotas'), { quotas: { resources: [{ type: 'queue', quota: 30, used: 0, min: 0, max: 500 }] } });
  const made = await call(201, 'POST', '/queues', { data: { name: 'orders', queue_mode: 'FIFO', redrive_policy: 'enable', max_consume_count: 2, description: 'ü' } });
  const shown = await call(200, 'GET', oneQueue, { ids: { queue_id: made.id }, query: { include_deadletter: true } });
  assert.deepEqual([shown.name, shown.description, shown.queue_mode, shown.max_consume_count], ['orders', 'ü', 'FIFO', 2]);
  assert.equal((await call(200, 'GET', '/queues', { query: { include_deadletter: false } })).total, 1);
  await refused(400, 10240017, 'POST', '/queues', { data: { name: 'orders' } });
  await refused(400, 10240015, 'GET', oneQueue, { ids: { queue_id: 'orders' } });
  return made.id;
}

async function messages(queue) {
  const ids = { queue_id: queue };
  const made = await call(201, 'POST', oneQueue + '/groups', { ids, data: { groups: [{ name: 'billing' }, { name: 'labelled' }] } });
  assert.deepEqual(made.groups.map((g) => g.name), ['billing', 'labelled']);
  const [billing, labelled] = made.groups.map((g) => ({ ...ids, group_id: g.id }));
  const bodies = ['plain text', { orderId: 42, lines: [1, 2.5, null] }, 'ü€𝄞'];
  const sent = await call(201, 'POST', oneQueue + '/messages', { ids, data: { return_id: true, messages: [
    { body: bodies[0], attributes: { source: 'web', retry: 1 }, tags: ['eu', 'vip'] }, { body: bodies[1], tags: ['us'] }, { body: bodies[2] },
  ] } });
  assert.equal(new Set(sent.messages.map((m) => m.id)).size, 3, 'ids');
  const consume = (ids, query) => call(200, 'GET', oneGroup + '/messages', { ids, query: { time_wait: 1, ...query } });
  let got = await consume(billing, { max_msgs: 10, ack_wait: 15 });
  assert.deepEqual(got.map((m) => m.message.body), bodies, 'bodies in order');
  assert.deepEqual(got[0].message.attributes, { source: 'web', retry: 1 });
  assert.deepEqual(await call(200, 'POST', oneGroup + '/ack', { ids: billing, data: acks('success', got[0]) }), { success: 1, fail: 0 });
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await call(200, 'POST', oneGroup + '/ack', { ids: billing, data: acks('fail', got[i ? 0 : 1]) }), { success: 0, fail: 1 });
    got = await consume(billing, {});
  }
  assert.deepEqual(got.map((m) => m.message.body), bodies.slice(2), 'the failing one has stepped aside');
  assert.deepEqual(await call(200, 'POST', oneGroup + '/ack', { ids: billing, data: acks('success', ...got) }), { success: 1, fail: 0 });
  await refused(400, 10542209, 'POST', oneGroup + '/ack', { ids: billing, data: acks('success', ...got) });
  const dead = await call(200, 'GET', oneGroup + '/deadletters', { ids: billing, query: { time_wait: 5 } });
  assert.deepEqual(dead.map((m) => m.message.body), [bodies[1]], 'dead letters');
  assert.deepEqual(await call(200, 'POST', oneGroup + '/deadletters/ack', { ids: billing, data: acks('success', ...dead) }), { success: 1, fail: 0 });

  got = await consume(labelled, { tag: ['eu', 'us'], tag_type: 'or' });
  assert.deepEqual(got.map((m) => m.message.body), bodies.slice(0, 2), 'messages with a label');
  await call(200, 'POST', oneGroup + '/ack', { ids: labelled, data: acks('success', ...got) });
  await refused(400, 10240014, 'GET', oneGroup + '/messages', { ids: billing, query: { max_msgs: 11 } });
  const listed = await call(200, 'GET', oneQueue + '/groups', { ids, query: { include_deadletter: true, page_size: 10, current_page: 1 } });
  assert.deepEqual([listed.groups[0].consumed_messages, listed.groups[0].produced_deadletters, listed.groups[0].available_deadletters], [3, 1, 0], 'counters');
  await call(204, 'DELETE', oneGroup, { ids: labelled });
}

async function tags(queue) {
  const ids = { queue_id: queue };
  await call(204, 'POST', '/queue/{queue_id}/tags/action', { ids, data: { action: 'create', tags: [{ key: 'env', value: 'prod' }, { key: 'team', value: 'ü' }] } });
  await call(204, 'POST', '/queue/{queue_id}/tags/action', { ids, data: { action: 'delete', tags: [{ key: 'team' }] } });
  assert.deepEqual(await call(200, 'GET', '/queue/{queue_id}/tags', { ids }), { tags: [{ key: 'env', value: 'prod' }] });
  assert.deepEqual(await call(200, 'GET', '/queue/tags'), { tags: [{ key: 'env', values: ['prod'] }] });
}

async function main() {
  const queue = await queues();
  console.log('ok queues');
  await messages(queue);
  console.log('ok messages');
  await tags(queue);
  console.log('ok tags');
  await refused(401, 0, 'GET', '/queues', { on: connect(secretKey + 'x') });
  console.log('ok another secret');
  await call(204, 'DELETE', oneQueue, { ids: { queue_id: queue } });
  await refused(404, 10240401, 'GET', oneQueue, { ids: { queue_id: queue } });
  console.log('all operations');
}

main().catch((e) => { console.log(e); process.exit(1); });
