# A service of its own user, with a configuration from a template.
class shop (
  String $greeting,
  Integer $port,
) {
  user { 'shop':
    system => true,
    shell  => '/usr/sbin/nologin',
  }

  file { '/etc/shop.conf':
    content => epp('shop/shop.conf.epp', {
      'greeting' => "${greeting}, ${facts['tier']}",
      'port'     => $port,
    }),
    owner   => 'shop',
    group   => 'shop',
    mode    => '0640',
  }

  # The step's secret is in Puppet's own environment; that it says it aloud is for the test of the mask.
  exec { 'say the key':
    command   => '/bin/sh -c \'echo "the key is $SHOP_KEY"; test -n "$SHOP_KEY"\'',
    logoutput => true,
  }

  # A name longer than the fifteen bytes that the kernel keeps would need its program's own; this one fits.
  file { '/usr/local/bin/shop-server':
    ensure => link,
    target => '/usr/bin/python3',
  }

  file { '/etc/systemd/system/shop.service':
    content => @("UNIT"),
      [Service]
      User=shop
      ExecStart=/usr/local/bin/shop-server -m http.server ${port} --directory /usr/share/doc
      [Install]
      WantedBy=multi-user.target
      | UNIT
    notify  => Service['shop'],
  }

  service { 'shop':
    ensure  => running,
    enable  => true,
    require => [User['shop'], File['/etc/shop.conf'], File['/usr/local/bin/shop-server']],
  }
}
