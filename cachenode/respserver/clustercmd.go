package respserver

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/outrigger-proxy/outrigger/protocol/resp"
)

// CLUSTER shows cluster-aware clients a picture in which they work as well as others: each slot of theirs is at some node, and
// whichever they ask answers, so that nothing is ever redirected. Slots are not what keys are placed by. Nodes that others
// cannot reach, for their listeners are on loopback, have no slots; who is connected to one of those sees it alone.

// slots is how many Redis Cluster has (cluster.h, CLUSTER_SLOTS).
const slots = 16384

// Topology is who answers clients, as one node sees it.
type Topology struct {
	Epoch uint64
	Nodes []TopologyNode // in the same order on all nodes
	Self  int            // in Nodes
}

// TopologyNode is a node that is alive.
type TopologyNode struct {
	Name string
	Addr string // "host:port" for clients; empty: none that others reach
	// Active nodes get slots. A node that is about to leave answers, too.
	Active bool
	Since  int64 // Unix milliseconds of its start
}

// clusterNode is a node as CLUSTER shows it.
type clusterNode struct {
	id, host string
	port     int
	self     bool
	since    int64

	first, last int // its slots; none if last < first
}

// clusterNodes returns the nodes with their slots.
func (s *session) clusterNodes() (nodes []clusterNode, epoch uint64) {
	t := Topology{Nodes: []TopologyNode{{Active: true}}}
	if s.st.srv.cfg.Topology != nil {
		t = s.st.srv.cfg.Topology()
	}
	alone := t.Nodes[t.Self].Addr == ""
	sharing := 0
	for i := range t.Nodes {
		if n := &t.Nodes[i]; n.Addr != "" && n.Active && !alone {
			sharing++
		}
	}
	if sharing == 0 {
		alone, sharing = true, 1
	}
	from, turn := 0, 0
	for i := range t.Nodes {
		n := &t.Nodes[i]
		c := clusterNode{id: nodeID(n.Name), self: i == t.Self, since: n.Since, first: from, last: from - 1}
		if host, port, err := net.SplitHostPort(n.Addr); err == nil {
			c.host = host
			c.port, _ = strconv.Atoi(port)
		}
		if c.self && c.host == "" && s.local.IsValid() { // where this client has found it
			c.host, c.port = s.local.Addr().String(), int(s.local.Port())
		}
		if alone && c.self || !alone && n.Addr != "" && n.Active {
			turn++
			from = turn * slots / sharing
			c.last = from - 1
		}
		nodes = append(nodes, c)
	}
	return nodes, t.Epoch & (1<<53 - 1) // for clients that count in floating point
}

// showsCluster is 1 where clients find more nodes than the one they are connected to, for clients that ask INFO before CLUSTER.
func (s *session) showsCluster() int {
	if topology := s.st.srv.cfg.Topology; topology != nil {
		if t := topology(); t.Nodes[t.Self].Addr != "" {
			return 1
		}
	}
	return 0
}

// nodeID is a node's name as clients know names: 40 hexadecimal digits. It does not change with the node's address.
func nodeID(name string) string {
	sum := sha1.Sum([]byte("outrigger " + name))
	return hex.EncodeToString(sum[:])
}

// clusterCommand is CLUSTER.
func (s *session) clusterCommand(sub string, args [][]byte) {
	switch sub {
	case "info":
		s.clusterInfo()
	case "nodes":
		if s.confinesItself() {
			s.fail("ERR This instance has cluster support disabled")
			return
		}
		s.clusterNodesText()
	case "slots":
		s.clusterSlots()
	case "shards":
		s.clusterShards()
	case "myid":
		nodes, _ := s.clusterNodes()
		for _, n := range nodes {
			if n.self {
				s.text(n.id)
			}
		}
	case "keyslot":
		s.int(int64(keySlot(args[2])))
	case "replicas", "links":
		s.st.w = resp.AppendArray(s.st.w, 0)
	case "countkeysinslot", "getkeysinslot":
		s.fail("ERR keys are not kept by slot, nor placed by it: SCAN finds them, on any node")
	}
}

// confinesItself tells whether the client is StackExchange.Redis. It sends CLUSTER NODES wherever it connects, and takes an answer
// to mean a Redis Cluster: no database but 0, no command on keys of two slots. Here it would lose by that, and gain nothing.
func (s *session) confinesItself() bool { return strings.Contains(s.clientInfo().libName, "SE.Redis") }

func (s *session) clusterInfo() {
	nodes, epoch := s.clusterNodes()
	size := 0
	for _, n := range nodes {
		if n.last >= n.first {
			size++
		}
	}
	var b strings.Builder
	for _, line := range []struct {
		name  string
		value any
	}{
		{"cluster_state", "ok"}, {"cluster_slots_assigned", slots}, {"cluster_slots_ok", slots}, {"cluster_slots_pfail", 0},
		{"cluster_slots_fail", 0}, {"cluster_known_nodes", len(nodes)}, {"cluster_size", size}, {"cluster_current_epoch", epoch},
		{"cluster_my_epoch", epoch},
	} {
		fmt.Fprintf(&b, "%s:%v\r\n", line.name, line.value)
	}
	s.st.w = resp.AppendVerbatim(s.st.w, "txt", b.String(), s.proto)
}

// clusterNodesText replies with a line for each node, in the format of nodes.conf.
func (s *session) clusterNodesText() {
	nodes, epoch := s.clusterNodes()
	var b strings.Builder
	for _, n := range nodes {
		flags := "master"
		if n.self {
			flags = "myself,master"
		}
		if n.host == "" {
			flags += ",noaddr"
		}
		// The port of the cluster bus is there for parsers: ours speaks to nobody's client.
		fmt.Fprintf(&b, "%s %s@0 %s - 0 %d %d connected", n.id, net.JoinHostPort(n.host, strconv.Itoa(n.port)), flags, n.since, epoch)
		if n.last >= n.first {
			fmt.Fprintf(&b, " %d-%d", n.first, n.last)
		}
		b.WriteByte('\n')
	}
	s.st.w = resp.AppendVerbatim(s.st.w, "txt", b.String(), s.proto)
}

// clusterSlots replies with the ranges of slots.
func (s *session) clusterSlots() {
	nodes := s.withSlots()
	s.st.w = resp.AppendArray(s.st.w, len(nodes))
	for _, n := range nodes {
		s.st.w = resp.AppendArray(s.st.w, 3)
		s.int(int64(n.first))
		s.int(int64(n.last))
		s.st.w = resp.AppendArray(s.st.w, 4)
		s.text(n.host)
		s.int(int64(n.port))
		s.text(n.id)
		s.st.w = resp.AppendArray(s.st.w, 0) // more about its addresses
	}
}

// clusterShards replies with the same as maps.
func (s *session) clusterShards() {
	nodes := s.withSlots()
	port := "port"
	if s.st.srv.cfg.TLSPort != 0 {
		port = "tls-port"
	}
	s.st.w = resp.AppendArray(s.st.w, len(nodes))
	for _, n := range nodes {
		s.st.w = resp.AppendMap(s.st.w, 2, s.proto)
		s.text("slots")
		s.st.w = resp.AppendArray(s.st.w, 2)
		s.int(int64(n.first))
		s.int(int64(n.last))
		s.text("nodes")
		s.st.w = resp.AppendArray(s.st.w, 1)
		s.st.w = resp.AppendMap(s.st.w, 7, s.proto)
		for _, f := range [][2]any{{"id", n.id}, {port, int64(n.port)}, {"ip", n.host}, {"endpoint", n.host}, {"role", "master"},
			{"replication-offset", int64(0)}, {"health", "online"}} {
			s.text(f[0].(string))
			if text, ok := f[1].(string); ok {
				s.text(text)
			} else {
				s.int(f[1].(int64))
			}
		}
	}
}

// withSlots returns the nodes that have any.
func (s *session) withSlots() (sharing []clusterNode) {
	nodes, _ := s.clusterNodes()
	for _, n := range nodes {
		if n.last >= n.first {
			sharing = append(sharing, n)
		}
	}
	return sharing
}

// keySlot is the slot that clients compute for a key: CRC16 of it, or of its hash tag (cluster.c, keyHashSlot).
func keySlot(key []byte) int {
	if open := strings.IndexByte(string(key), '{'); open >= 0 {
		if n := strings.IndexByte(string(key[open+1:]), '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	crc := uint16(0)
	for _, c := range key {
		crc ^= uint16(c) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021 // CRC-16/XMODEM
			}
		}
	}
	return int(crc) % slots
}
