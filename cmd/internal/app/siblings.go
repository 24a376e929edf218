package app

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/outrigger-proxy/outrigger/cachenode"
	"github.com/outrigger-proxy/outrigger/cluster"
	"github.com/outrigger-proxy/outrigger/pgpool"
	"github.com/outrigger-proxy/outrigger/protocol/peer"
)

// siblings carries what the poolers of different sidecars have to say to each other, over the connections of the cache's
// nodes. It is the pgpool.Siblings.
type siblings struct {
	members *cluster.Cluster
	node    *cachenode.Node
	log     *slog.Logger
}

// nodeID is what the keys for cancel requests carry of a node's name: siblings know it of each other without a word.
func nodeID(name string) uint16 { return uint16(xxhash.Sum64String(name)) & pgpool.MaxNodeID }

// Cancel implements pgpool.Siblings. Several nodes may share an id: all of them are asked.
func (s *siblings) Cancel(ctx context.Context, id uint16, pid uint32, secret []byte) {
	question := append(binary.BigEndian.AppendUint32(nil, pid), secret...)
	view := s.members.View()
	var asking sync.WaitGroup
	for i := range view.Members {
		name := view.Members[i].Name
		if i == view.Self || nodeID(name) != id {
			continue
		}
		line := s.node.Line(name)
		if line == nil {
			continue
		}
		asking.Go(func() {
			defer line.Close()
			if _, err := line.Ask(ctx, peer.Cancel, question); err != nil {
				s.log.Warn("cancel request not passed on", "member", name, "error", err)
			}
		})
	}
	asking.Wait()
}

// answerCancel has cancel requests of siblings handled by pooler.
func (s *siblings) answerCancel(pooler *pgpool.Pooler) {
	s.node.Answer(peer.Cancel, func(ctx context.Context, question []byte) []byte {
		if len(question) > 4 {
			pooler.CancelHere(ctx, binary.BigEndian.Uint32(question), question[4:])
		}
		return nil
	})
}
